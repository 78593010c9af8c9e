"""What billing shows of a session's customer: read from the mirror always, and from Stripe itself at the two moments that decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app import preferences
from connect_app.models import Action, Choice, Connection, FlowSession, Outcome, SessionFact
from connect_app.models.base import Json
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from connect_app.stripe_gateway.account import AccountGateway
from connect_app.stripe_gateway.errors import Missing, Refused
from jobs import budget
from jobs.validation import footing, table, worth
from webhooks import attribution, projections

log = structlog.get_logger()

_INVOICES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One session as its outcome is decided. `shown` is the subscription its standing is about: the last of `subscriptions`, which are its
    own and those with which its customer came back.

    `before` is its subscription as it was before what was chosen changed anything, where something did. `later` are the sessions in which
    its customer came again.
    """

    row: FlowSession
    was: table.Outcome | None
    looked_at: datetime | None
    revenue: Json
    visit: table.Visit
    connection: Connection | None
    is_attributed: bool
    standing: table.Standing | None
    shown: objects.Subscription | None
    subscriptions: tuple[str, ...]
    later: Sequence[footing.Later]
    before: objects.Subscription | None

    @property
    def until(self) -> datetime | None:
        """When the customer came again: what is paid from then on is told there."""
        return self.later[0].shown_at if self.later else None

    @property
    def can_look(self) -> bool:
        """Whether Stripe can be asked at all."""
        return self.is_attributed and self.connection is not None and self.connection.state == "connected"


def load(session: Session, workspace_id: str, session_id: str, now: datetime, *, is_missing: bool = False) -> Case | None:
    """The session as rows show it; None where nobody has opened it. `is_missing`: Stripe was just asked, and has no such subscription."""
    row = session.execute(
        select(FlowSession).where(FlowSession.workspace_id == workspace_id, FlowSession.id == session_id)
    ).scalar_one_or_none()
    if row is None or row.shown_at is None:
        return None
    settings = preferences.read(session, workspace_id)
    kept = session.execute(select(Outcome).where(Outcome.session_id == session_id)).scalar_one_or_none()
    choice = session.execute(select(Choice).where(Choice.session_id == session_id)).scalar_one_or_none()
    actions = _actions(session, row)
    connection = (
        session.execute(select(Connection).where(Connection.id == row.connection_id)).scalar_one_or_none() if row.connection_id else None
    )
    held = footing.held(session, row)
    chosen = [action for action in actions if choice is not None and action.choice_id == choice.id]
    # Of several subscriptions that a choice was about, this session is told by its own.
    chosen = [action for action in chosen if action.subscription == row.subscription] or chosen
    # What only the business gives, nothing on Stripe can show: it counts from the choice.
    is_custom = choice is not None and (choice.offer or {}).get("kind") == "custom"
    verified_at = choice.made_at if choice is not None and is_custom else _verified_at(chosen)
    is_partial = any(action.verb == "item_cancel" for action in chosen)
    visit = table.Visit(
        shown_at=row.shown_at,
        last_activity_at=row.last_activity_at,
        interval=timedelta(days=row.save_interval_days),
        kept_at=row.kept_at,
        choice=cast(table.Verb, choice.verb) if choice is not None else None,
        chosen_at=choice.made_at if choice is not None else None,
        verified_at=verified_at,
        undone_at=None if is_partial else _undone_at(session, row, choice, verified_at, actions, held),
        is_partial=is_partial,
    )
    was = _outcome(kept)
    chain = footing.chain(session, row, was, visit, now)
    standing = None
    if connection is not None and settings.attribution:
        standing = footing.of(session, row, connection, chain, is_missing=is_missing)
    subscriptions = tuple(one.subscription.id for one in chain) or (row.subscription,)
    planned = next((action.call for action in chosen if action.call), None)
    return Case(
        row=row,
        was=was,
        looked_at=kept.checked_at if kept else None,
        revenue=dict(kept.revenue or {}) if kept else {},
        visit=visit,
        connection=connection,
        is_attributed=settings.attribution,
        standing=standing,
        shown=chain[-1].subscription if chain and standing is not None else None,
        subscriptions=subscriptions,
        later=footing.later(session, row, subscriptions),
        before=objects.read_subscription(planned["before"]) if planned else None,
    )


def look(rt: Runtime, case: Case) -> bool:
    """Ask Stripe now, and keep in the mirror what it says of the subscription, its invoices and what followed it.

    False where Stripe has no such subscription. Raises what the gateway raises; nothing is open meanwhile.
    """
    connection = case.connection
    if connection is None:
        raise ValueError("without a connection there is nobody to ask")
    account = rt.stripe(connection.mode).account(connection.account)
    place = connection.workspace_id, connection.id
    is_there = _read(rt, account, connection, case.row.subscription)
    with rt.transaction(connection.workspace_id) as session:
        held = footing.held(session, case.row)
    if held is None or footing.has_left(held.subscription):
        budget.wait(rt, connection.account, connection.mode)
        others = account.subscriptions(customer=case.row.customer)
        with rt.transaction(connection.workspace_id) as session:
            projections.apply_reads(session, *place, others.value.items, others.as_of)
            chain = footing.chain(session, case.row, case.was, case.visit, rt.now())
        if len(chain) > 1:
            _read_invoices(rt, account, connection, chain[-1].subscription.id)
    return is_there


def follow_charges(rt: Runtime, case: Case) -> None:
    """Ask which invoices the customer's refunded and disputed charges paid: since 2025-03-31 only the invoices' payments tell.

    Once for each charge, whenever its news come and whatever the outcome is by then: money is given back after decisions, too. Raises what
    the gateway raises; nothing is open meanwhile.
    """
    connection = case.connection
    if connection is None or not case.can_look:
        return
    with rt.transaction(connection.workspace_id) as session:
        unknown = worth.unlinked(session, connection.id, case.row.customer)
    account = rt.stripe(connection.mode).account(connection.account)
    for charge, payment_intent in unknown:
        budget.wait(rt, connection.account, connection.mode)
        try:
            invoice = account.invoice_paid_by(payment_intent).value
        except (Missing, Refused) as refusal:
            if refusal.code != "resource_missing":
                raise
            invoice = None
        with rt.transaction(connection.workspace_id) as session:
            attribution.pays(session, connection.id, charge, invoice)


def _read(rt: Runtime, account: AccountGateway, connection: Connection, id: str) -> bool:
    place = connection.workspace_id, connection.id
    budget.wait(rt, connection.account, connection.mode)
    try:
        read = account.subscription(id)
    except Missing:
        with rt.transaction(connection.workspace_id) as session:
            projections.mark_deleted(session, *place, "subscription", id, rt.now().replace(microsecond=0))
        return False
    with rt.transaction(connection.workspace_id) as session:
        projections.apply_read(session, *place, read.value, read.as_of)
    _read_invoices(rt, account, connection, id)
    return True


def _read_invoices(rt: Runtime, account: AccountGateway, connection: Connection, subscription: str) -> None:
    budget.wait(rt, connection.account, connection.mode)
    page = account.invoices(subscription=subscription, limit=_INVOICES)
    with rt.transaction(connection.workspace_id) as session:
        projections.apply_reads(session, connection.workspace_id, connection.id, page.value.items, page.as_of)


def _actions(session: Session, row: FlowSession) -> list[Action]:
    """Every change of this subscription's that we know of, whichever session or page asked for it."""
    mine = Action.session_id == row.id
    of_it = (Action.connection_id == row.connection_id) & (Action.subscription == row.subscription) if row.connection_id else mine
    found = select(Action).where(Action.workspace_id == row.workspace_id, mine | of_it)
    rows = session.execute(found.order_by(Action.asked_at, Action.id), execution_options={"populate_existing": True})
    return list(rows.scalars())


def _verified_at(chosen: Sequence[Action]) -> datetime | None:
    """When the last of a choice's changes was verified; None while one is under way, or where none was."""
    if any(action.state not in ("verified", "failed") for action in chosen):
        return None
    return max((action.verified_at for action in chosen if action.verified_at is not None), default=None)


def _undone_at(
    session: Session,
    row: FlowSession,
    choice: Choice | None,
    verified_at: datetime | None,
    actions: Sequence[Action],
    held: footing.Held | None,
) -> datetime | None:
    """The first sign that a cancellation was taken back: a change of ours, an event of Stripe's, or what the mirror shows."""
    if choice is None:
        own = [action.verified_at for action in actions if action.session_id == row.id and action.verb == "undo_cancel"]
        return min((at for at in own if at is not None), default=None)
    if choice.verb != "cancel" or verified_at is None:
        return None
    ours = (action for action in actions if action.subscription == row.subscription and _clears(action))
    signs = [action.verified_at for action in ours if action.verified_at is not None]
    told = select(SessionFact.at, SessionFact.data).where(SessionFact.session_id == row.id, SessionFact.kind == "stripe.changed")
    signs.extend(
        fact.at
        for fact in session.execute(told)
        if not fact.data.get("is_canceling") and fact.data.get("status") not in ("canceled", "incomplete_expired", "unpaid")
    )
    if held is not None and not footing.has_left(held.subscription):
        signs.append(held.as_of)
    # Stripe's times are whole seconds: what bears the second of the cancel's proof may be older than it.
    return min((at for at in signs if at.replace(microsecond=0) > verified_at.replace(microsecond=0)), default=None)


def _clears(action: Action) -> bool:
    """Whether this verified change took a cancellation back: an undo, or an offer accepted while canceling."""
    if action.verb == "undo_cancel":
        return True
    before = (action.call or {}).get("before") or {}
    return action.verb != "cancel" and (bool(before.get("cancel_at_period_end")) or before.get("cancel_at") is not None)


def _outcome(kept: Outcome | None) -> table.Outcome | None:
    if kept is None:
        return None
    return table.Outcome(
        state=cast(table.State, kept.state),
        since=kept.since,
        how=cast("table.How | None", kept.how),
        door=kept.door,
        interval_ends_at=kept.interval_ends_at,
    )
