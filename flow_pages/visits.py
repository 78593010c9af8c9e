"""A customer's visit as a page needs it, read in one query: session, flow, what the mirror knows, what was answered and chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Boolean, ColumnElement, Select, and_, bindparam, case, exists, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from connect_app import db, preferences
from connect_app.errors import NotFound
from connect_app.models import (
    Answer,
    Choice,
    Connection,
    Customer,
    FieldMapping,
    FlowSession,
    FlowVersion,
    LinkLookup,
    Setting,
    Subscription,
    Work,
    Workspace,
)
from connect_app.models.base import Json
from connect_app.preferences import Preferences
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from flow_pages import links, spoken, theme, versions, wording
from flow_pages.document import Flow
from webhooks import catalogue, enrichment, mapping
from webhooks.catalogue import Subject

log = structlog.get_logger()

# A link that no person has opened is no longer good after this; one that was, for as long as its row says.
FIRST_OPENED_WITHIN = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Everything a page of the flow is drawn from.

    `subscription` and `customer` are None where the mirror has none of this customer's. `is_doubtful`: the mirror's copy is about to
    be read again.
    """

    row: FlowSession
    workspace_name: str
    preferences: Preferences
    connection: Connection | None
    flow: Flow
    subscription: objects.Subscription | None
    customer: objects.Customer | None
    as_of: datetime | None
    is_doubtful: bool
    # For the first look alone, empty afterwards.
    subject: Subject
    mappings: Sequence[mapping.Mapping]
    answers: Mapping[str, Json]
    choice: Choice | None

    @property
    def is_connected(self) -> bool:
        return self.connection is not None and self.connection.state == "connected"

    @property
    def reader(self) -> str:
        """What all dates, money and numbers are written for, the owner's copy's and the pages' own: one page has one way to write them."""
        return spoken.reader(self.row.locale, self.customer)

    @property
    def words(self) -> dict[str, wording.Word]:
        """The variables for copy, as they were when the flow was first shown."""
        return wording.words(self.row.variables, self.reader)

    @property
    def return_url(self) -> str | None:
        return self.row.return_url or self.preferences.return_url

    @property
    def cancel_url(self) -> str | None:
        return self.row.cancel_url or self.preferences.cancel_url or self.return_url


def is_expired(row: FlowSession, now: datetime) -> bool:
    """Whether this link is over: 24 hours after it was made, or 30 minutes if no person has opened it."""
    return now >= link_ends_at(row)


def link_ends_at(row: FlowSession) -> datetime:
    """When the link is over, as things stand."""
    if row.shown_at is None and row.state == "open":
        return min(row.minted_at + FIRST_OPENED_WITHIN, row.expires_at)
    return row.expires_at


_LOCATED = select(db.tenant_of(LinkLookup.workspace_id)).where(LinkLookup.link_id == bindparam("link"))


def locate(session: Session, row_id: str) -> str:
    """The workspace of a link's row, made this transaction's tenant; raises NotFound for a row that is not there."""
    found: str | None = session.execute(_LOCATED, {"link": row_id}).scalar_one_or_none()
    if found is None:
        raise links.unknown()
    return found


def read(session: Session, rt: Runtime, token: str) -> Visit:
    """The visit a cancel link leads to. Raises NotFound for a link that was never ours, Gone for one that is over."""
    parsed = links.parse(token, "ses_")
    locate(session, parsed.row_id)
    visit = load(session, parsed.row_id)
    if visit is None:
        raise links.unknown()
    links.check(rt, parsed, links.CANCEL, visit.row.epoch)
    if is_expired(visit.row, rt.now()):
        theme.enter(visit.workspace_name, visit.preferences, leave=visit.return_url)
        raise links.over()
    return visit


def _statement() -> Select[Any]:
    settings = select(func.jsonb_object_agg(Setting.name, Setting.value)).where(Setting.workspace_id == FlowSession.workspace_id)
    answers = select(func.jsonb_object_agg(Answer.step, Answer.value)).where(Answer.session_id == FlowSession.id)
    refetch = func.concat(FlowSession.connection_id, "/subscription/", FlowSession.subscription)
    columns = "name", FieldMapping.name, "type", FieldMapping.type, "source", FieldMapping.source, "fallback", FieldMapping.fallback
    mapped = select(func.jsonb_agg(func.jsonb_build_object(*columns))).where(FieldMapping.workspace_id == FlowSession.workspace_id)
    is_first = FlowSession.variables == {}
    unread = literal_column(enrichment.unread(connections="connections", subscription="sessions.subscription"), Boolean())
    # Names of columns in this statement, and of nothing else.
    beside: ColumnElement[Json] = literal_column(
        catalogue.beside(
            connection="sessions.connection_id", customer="sessions.customer", subscriptions="subscriptions", customers="customers"
        ),
        JSONB(),
    )
    asked = exists().where(Work.kind == "refetch", Work.row_id == refetch, Work.gave_up_at.is_(None))
    return (
        select(
            FlowSession,
            Workspace.name.label("workspace_name"),
            Connection,
            FlowVersion.document,
            Subscription.raw.label("subscription"),
            Subscription.as_of,
            Customer.raw.label("customer"),
            Customer.as_of.label("customer_as_of"),
            case((is_first, beside)).label("beside"),
            case((is_first, mapped.scalar_subquery())).label("mappings"),
            Choice,
            settings.scalar_subquery().label("settings"),
            answers.scalar_subquery().label("answers"),
            or_(asked, case((is_first, unread), else_=False)).label("is_doubtful"),
        )
        .join(Workspace, Workspace.id == FlowSession.workspace_id)
        .join(FlowVersion, FlowVersion.id == FlowSession.flow_version_id)
        .outerjoin(Connection, Connection.id == FlowSession.connection_id)
        .outerjoin(
            Subscription,
            and_(
                Subscription.connection_id == FlowSession.connection_id,
                Subscription.id == FlowSession.subscription,
                Subscription.is_deleted.is_(False),
            ),
        )
        .outerjoin(Customer, and_(Customer.connection_id == FlowSession.connection_id, Customer.id == FlowSession.customer))
        .outerjoin(Choice, Choice.session_id == FlowSession.id)
        .where(FlowSession.id == bindparam("session"))
        .execution_options(populate_existing=True)
    )


# Made once: putting it together takes longer than asking it.
_VISIT = _statement()


def load(session: Session, session_id: str) -> Visit | None:
    """One session of the transaction's workspace with all that belongs to it."""
    found = session.execute(_VISIT, {"session": session_id}).first()
    if found is None:
        return None
    subscription, customer = _subscription(found.subscription), _customer(found.customer)
    if subscription is not None and subscription.customer != found.FlowSession.customer:
        # The hand-off could not know it yet; now that we do, it is as if there were nothing.
        raise foreign_subscription()
    return Visit(
        row=found.FlowSession,
        workspace_name=found.workspace_name,
        preferences=preferences.Preferences.model_validate({name: kept["value"] for name, kept in (found.settings or {}).items()}),
        connection=found.Connection,
        flow=versions.read(found.document),
        subscription=subscription,
        customer=customer,
        as_of=found.as_of,
        is_doubtful=found.is_doubtful,
        subject=catalogue.subject(
            customer_id=found.FlowSession.customer,
            subscription_id=found.FlowSession.subscription,
            subscription=subscription,
            customer=customer,
            beside=found.beside,
            as_of={"subscription": found.as_of, "customer": found.customer_as_of},
            custom=found.FlowSession.custom,
        ),
        mappings=mapping.overlaid(found.mappings),
        answers=found.answers or {},
        choice=found.Choice,
    )


def foreign_subscription() -> NotFound:
    """What a subscription of another customer answers, as if it did not exist."""
    return NotFound(code="subscription_not_found", message="This customer has no such subscription.", param="subscription")


def _subscription(raw: Json | None) -> objects.Subscription | None:
    try:
        return objects.read_subscription(raw) if raw is not None else None
    except objects.Malformed:
        log.warning("mirror.malformed", object="subscription")
        return None


def _customer(raw: Json | None) -> objects.Customer | None:
    try:
        return objects.read_customer(raw) if raw is not None else None
    except objects.Malformed:
        log.warning("mirror.malformed", object="customer")
        return None
