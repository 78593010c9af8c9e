"""The ledger: what is to change on Stripe, each try at it, the proof that it did, and what became of the session."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base, Json, Tenant


class Action(Tenant, Base):
    """One change to one subscription on Stripe, `act_…`.

    `verb` is one of jobs.plans.VERBS. `intent` is frozen when it is asked for (terms, absolute times; jobs.plans.Wish says what it
    holds); `call` is planned after the precheck read and persisted before the first write: `{generation, key, requests, planned_at,
    before, loses}`, `requests` being stripe_gateway Calls as they write themselves down (the n-th is sent under `key`, from the second on
    with `.n` behind it), `before` the subscription they were planned on, `loses` what is given up with it. `code` says in a word why it
    is manual or failed; `message` says it for people. `reminded` is how far the team has been told of one that waits (jobs.reminders).
    `confirmation` is what became of the last API call that said it was done (jobs.actions.proving).
    """

    __tablename__ = "actions"
    id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    connection_id: Mapped[str | None]
    choice_id: Mapped[str | None]
    session_id: Mapped[str | None]
    portal_link_id: Mapped[str | None]
    customer: Mapped[str]
    subscription: Mapped[str]
    verb: Mapped[str]
    state: Mapped[str]
    intent: Mapped[Json]
    call: Mapped[Json | None]
    generation: Mapped[int] = mapped_column(server_default="0")
    code: Mapped[str | None]
    message: Mapped[str | None]
    stripe_request_id: Mapped[str | None]
    due_on: Mapped[datetime | None]
    reminded: Mapped[int] = mapped_column(server_default="0")
    asked_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    confirmation: Mapped[Json | None]
    __table_args__ = (
        CheckConstraint("state IN ('requested', 'queued', 'prechecked', 'applied', 'verified', 'manual', 'failed')", name="state"),
        CheckConstraint(
            "verb IN ('discount', 'pause', 'extension', 'trial_extension', 'plan_change', 'cancel', 'item_cancel', 'undo_cancel', 'resume',"
            " 'payment_method')",
            name="verb",
        ),
        UniqueConstraint("workspace_id", "id"),
        UniqueConstraint("choice_id", "subscription", "verb"),
        ForeignKeyConstraint(["workspace_id", "choice_id"], ["choices.workspace_id", "choices.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["workspace_id", "connection_id"], ["connections.workspace_id", "connections.id"]),
        Index(
            "uq_actions_in_flight",
            "connection_id",
            "subscription",
            unique=True,
            postgresql_where="state IN ('queued', 'prechecked', 'applied')",
        ),
        Index("ix_actions_workspace_id_state", "workspace_id", "state"),
        Index("ix_actions_session_id", "session_id"),
        Index("ix_actions_connection_id_subscription", "connection_id", "subscription"),
        Index("ix_actions_workspace_id_customer", "workspace_id", "customer"),
        Index("ix_actions_workspace_id_subscription", "workspace_id", "subscription"),
    )


class Attempt(Tenant, Base):
    """One conversation with Stripe about an action; `problem` is null when it went well.

    `step` is `precheck` (the subscription), `coupon` (before a discount), `write` or `read_back`.
    """

    __tablename__ = "attempts"
    id: Mapped[str] = mapped_column(primary_key=True)
    action_id: Mapped[str]
    step: Mapped[str]
    at: Mapped[datetime]
    took_ms: Mapped[int]
    stripe_request_id: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    problem: Mapped[str | None]
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "action_id"], ["actions.workspace_id", "actions.id"], ondelete="CASCADE"),
        Index("ix_attempts_action_id", "action_id"),
    )


class Receipt(Tenant, Base):
    """The proof of a verified action: what the subscription was before, and what was read back from Stripe afterwards."""

    __tablename__ = "receipts"
    action_id: Mapped[str] = mapped_column(primary_key=True)
    before: Mapped[Json]
    after: Mapped[Json]
    effective_at: Mapped[datetime | None]
    next_charge_at: Mapped[datetime | None]
    stripe_request_id: Mapped[str | None]
    read_back_at: Mapped[datetime]
    __table_args__ = (ForeignKeyConstraint(["workspace_id", "action_id"], ["actions.workspace_id", "actions.id"], ondelete="CASCADE"),)


class Outcome(Tenant, Base):
    """What became of a session, by the table in SPEC section 11; a session without a row is `open`.

    `how` is `offer`, `kept`, `abandoned` or `undone`; `door` is how a lost one left. The save interval ends at `interval_ends_at`.
    `revenue` is what jobs.validation froze: its shape is stated there.
    """

    __tablename__ = "outcomes"
    session_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    how: Mapped[str | None]
    since: Mapped[datetime]
    door: Mapped[str | None]
    interval_ends_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]
    revenue: Mapped[Json | None]
    __table_args__ = (
        CheckConstraint("state IN ('open', 'canceled', 'watch', 'saved', 'paused', 'lost', 'unknown')", name="state"),
        ForeignKeyConstraint(["workspace_id", "session_id"], ["sessions.workspace_id", "sessions.id"], ondelete="CASCADE"),
        # Who is on watch, the next to be decided first.
        Index(
            "ix_outcomes_watched",
            "workspace_id",
            "state",
            "interval_ends_at",
            "session_id",
            postgresql_where="state IN ('watch', 'paused')",
        ),
    )
