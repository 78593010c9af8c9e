"""The numbers of Home and Analytics as they were last counted, and what has changed since: kept by triggers and by jobs.counting."""

from datetime import date, datetime

from sqlalchemy import BigInteger, ForeignKeyConstraint, Identity, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base, Json, Tenant


class CaseMark(Tenant, Base):
    """One customer's sessions for one subscription that are to be counted anew. Triggers write it in the transaction that changes them.

    A number is what was counted, without what is marked, and with what the marked ones come to now.
    """

    __tablename__ = "case_marks"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    mode: Mapped[str]
    customer: Mapped[str]
    subscription: Mapped[str]
    __table_args__ = (Index("ix_case_marks_workspace_id_id", "workspace_id", "id"),)


class CaseSession(Tenant, Base):
    """What an opened session was counted as. The first session of a case also carries the case: since when, its state, its amounts.

    `worth` is `[{what, currency, amount}]`, `what` being `saved`, `lost`, `watched` or `paid`, `amount` null where it cannot be said.
    No foreign key to the session: what was counted must be known to take it back when the session is gone.
    """

    __tablename__ = "case_sessions"
    session_id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    customer: Mapped[str]
    subscription: Mapped[str]
    minted_at: Mapped[datetime]
    outcome: Mapped[str]
    begun_at: Mapped[datetime | None]
    state: Mapped[str | None]
    worth: Mapped[list[Json] | None] = mapped_column(JSONB)
    __table_args__ = (
        Index("ix_case_sessions_chain", "workspace_id", "mode", "customer", "subscription"),
        Index("ix_case_sessions_minted", "workspace_id", "mode", "minted_at", "session_id"),
        Index("ix_case_sessions_outcome", "workspace_id", "mode", "outcome", "minted_at", "session_id"),
        Index("ix_case_sessions_begun", "workspace_id", "mode", "begun_at", postgresql_where="begun_at is not null"),
    )


class CaseDay(Tenant, Base):
    """The sums of one day (UTC) over `case_sessions`.

    `what` is `session` (by its day of hand-off; `key` an outcome), `case` (by its first day; `key` a state), or one of `worth`
    (`key` a currency). `number` counts what is known, `unknown` the amounts that cannot be said.
    """

    __tablename__ = "case_days"
    workspace_id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    unknown: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = (ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], ondelete="CASCADE"),)
