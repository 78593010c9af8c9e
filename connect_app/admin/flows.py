"""A workspace's flows: giving it its first two, publishing versions, and what its owner may see of them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from connect_app import audit, ids
from connect_app.admin import offers
from connect_app.errors import NotFound
from connect_app.models import Flow, FlowSession, FlowVersion
from flow_pages import document, versions

DEFAULT, CONTROL = "default", "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A published version: who published it when, and what is in it."""

    id: str
    number: int
    published_at: datetime
    published_by: str
    is_published: bool
    document: document.Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A flow with its published version; `sessions` were started on any version of it, in one mode."""

    id: str
    kind: str
    name: str
    version: Version
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exempt:
    """A flow whose published document says for itself what Settings say for the others."""

    id: str
    name: str
    document: document.Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The owner's words for the offer; Liquid variables allowed."""

    headline: str
    body: str
    accept: str
    decline: str


def seed(session: Session, workspace_id: str, now: datetime, by: str) -> None:
    """Publish a new workspace's default and control flow."""
    for kind, name, first in (
        (DEFAULT, "Default flow", _first(session, workspace_id, now, by)),
        (CONTROL, "Plain cancel", document.control_flow()),
    ):
        flow = Flow(id=ids.new("flo"), workspace_id=workspace_id, kind=kind, name=name, created_at=now)
        session.add(flow)
        session.flush()
        publish(session, workspace_id, flow.id, first, now, by)


def _first(session: Session, workspace_id: str, now: datetime, by: str) -> document.Flow:
    """The default flow with its first offer, which has an id of its own from here on."""
    flow = document.default_flow()
    for offer in flow.offers:
        reasons = tuple(reason.id for reason in flow.survey.reasons if offer.id in reason.offers) if flow.survey else ()
        placement = offers.Placement(reasons=reasons)
        offers.add(session, workspace_id, name="A lower price", offer=offer, placement=placement, now=now, by=by)
    return offers.compose(flow, offers.listing(session, workspace_id))


def publish_offers(session: Session, workspace_id: str, now: datetime, by: str) -> int | None:
    """Publish the default flow with the offers as they are now; gives the new version's number, None where nothing is different."""
    row = session.execute(select(Flow.id).where(Flow.workspace_id == workspace_id, Flow.kind == DEFAULT).with_for_update()).scalar_one()
    before = default_document(session, workspace_id)
    after = offers.compose(before, offers.listing(session, workspace_id))
    return None if after == before else publish(session, workspace_id, row, after, now, by)


def set_options(
    session: Session,
    workspace_id: str,
    flow_id: str,
    *,
    cancel: document.CancelOptions | None,
    offers_by: document.Whose | None,
    cancels_by: document.Whose | None,
    now: datetime,
    by: str,
) -> int | None:
    """Publish the flow with these options of its own, None being the workspace's; gives the new version's number, None where it had them.

    Raises NotFound for a foreign flow.
    """
    # Whoever publishes meanwhile is waited for, so that nothing of theirs is lost.
    found = session.execute(
        select(Flow).where(Flow.workspace_id == workspace_id, Flow.id == flow_id).with_for_update()
    ).scalar_one_or_none()
    version = session.get(FlowVersion, found.published_version_id) if found is not None and found.published_version_id else None
    if version is None:
        raise NotFound(code="not_found", message="There is no such flow in this workspace.")
    before = versions.read(version.document)
    said = {"cancel": cancel, "offers_by": offers_by, "cancels_by": cancels_by}
    after = before.model_copy(update=said)
    if after == before:
        return None
    details = {name: value.model_dump() if isinstance(value, document.CancelOptions) else value for name, value in said.items()}
    audit.record(session, workspace_id, actor=by, verb="flow.options", at=now, target=flow_id, details=details)
    return publish(session, workspace_id, flow_id, after, now, by)


def exempt(session: Session, workspace_id: str) -> list[Exempt]:
    """The flows that go their own way in something that Settings decide for the others, the default one first."""
    rows = session.execute(
        select(Flow.id, Flow.name, FlowVersion.document)
        .join(FlowVersion, (FlowVersion.workspace_id == Flow.workspace_id) & (FlowVersion.id == Flow.published_version_id))
        .where(Flow.workspace_id == workspace_id)
        .order_by(Flow.kind != DEFAULT, Flow.created_at)
    ).all()
    found = [Exempt(id=row.id, name=row.name, document=versions.read(row.document)) for row in rows]
    return [one for one in found if one.document.cancel or one.document.offers_by or one.document.cancels_by]


def publish(session: Session, workspace_id: str, flow_id: str, document: document.Flow, now: datetime, by: str) -> int:
    """Make `document` the flow's next version and the one new sessions get; gives its number. Raises NotFound for a foreign flow.

    Sessions that have begun stay with the version they began on.
    """
    # The flow's row is the queue that two who publish at once stand in.
    flow = session.execute(select(Flow).where(Flow.workspace_id == workspace_id, Flow.id == flow_id).with_for_update()).scalar_one_or_none()
    if flow is None:
        raise NotFound(code="not_found", message="There is no such flow.")
    last = session.execute(select(func.max(FlowVersion.number)).where(FlowVersion.flow_id == flow_id)).scalar_one()
    version = FlowVersion(
        id=ids.new("ver"),
        workspace_id=workspace_id,
        flow_id=flow_id,
        number=(last or 0) + 1,
        document=document.as_json(),
        published_at=now,
        published_by=by,
    )
    session.add(version)
    session.flush()
    session.execute(update(Flow).where(Flow.id == flow_id).values(published_version_id=version.id))
    details = {"flow": flow.kind, "version": version.number}
    audit.record(session, workspace_id, actor=by, verb="flow.published", at=now, target=flow_id, details=details)
    return version.number


def set_offer(
    session: Session, workspace_id: str, *, mode: str, coupon: str | None, now: datetime, by: str, copy: Copy | None = None
) -> int | None:
    """Give the first discount this coupon for `mode`, and `copy` where given, and publish; gives the default flow's new version's number.

    None where nothing is different. Raises pydantic's ValidationError for copy or a coupon id that a flow cannot hold.
    """
    kept = offers.get(session, workspace_id, first_discount(session, workspace_id).id)
    changed = kept.offer.model_dump(mode="json")
    changed["coupons"][mode] = coupon
    if copy is not None:
        changed |= {"headline": copy.headline, "body": copy.body, "accept": copy.accept, "decline": copy.decline}
    offer = offers.read(changed)
    if offer != kept.offer:
        offers.save(session, workspace_id, kept.id, name=kept.name, offer=offer, placement=kept.placement, now=now, by=by)
    return publish_offers(session, workspace_id, now, by)


def default_document(session: Session, workspace_id: str) -> document.Flow:
    """The published default flow; every workspace has one."""
    version = versions.published(session, workspace_id, DEFAULT)
    if version is None:
        raise NotFound(code="not_found", message="This workspace has no default flow.")
    return versions.read(version.document)


def first_discount(session: Session, workspace_id: str) -> document.DiscountOffer:
    """The discount that is offered first. Raises NotFound where there is none."""
    for one in offers.listing(session, workspace_id):
        if isinstance(one.offer, document.DiscountOffer):
            return one.offer
    raise NotFound(code="not_found", message="This workspace has no discount among its offers.")


def listing(session: Session, workspace_id: str, mode: str) -> list[Listed]:
    """All flows, the default one first."""
    visits = (
        select(FlowVersion.flow_id, func.count().label("visits"))
        .join(FlowSession, (FlowSession.workspace_id == FlowVersion.workspace_id) & (FlowSession.flow_version_id == FlowVersion.id))
        .where(FlowVersion.workspace_id == workspace_id, FlowSession.mode == mode)
        .group_by(FlowVersion.flow_id)
        .subquery()
    )
    rows = session.execute(
        select(Flow, FlowVersion, func.coalesce(visits.c.visits, 0))
        .join(FlowVersion, (FlowVersion.workspace_id == Flow.workspace_id) & (FlowVersion.id == Flow.published_version_id))
        .outerjoin(visits, visits.c.flow_id == Flow.id)
        .where(Flow.workspace_id == workspace_id)
        .order_by(Flow.kind != DEFAULT, Flow.created_at)
    ).all()
    return [
        Listed(id=flow.id, kind=flow.kind, name=flow.name, version=_version(row, is_published=True), sessions=count)
        for flow, row, count in rows
    ]


def history(session: Session, workspace_id: str, flow_id: str, limit: int = 50) -> list[Version]:
    """The flow's versions, newest first; at most `limit`."""
    published = session.execute(
        select(Flow.published_version_id).where(Flow.workspace_id == workspace_id, Flow.id == flow_id)
    ).scalar_one_or_none()
    rows = session.execute(
        select(FlowVersion)
        .where(FlowVersion.workspace_id == workspace_id, FlowVersion.flow_id == flow_id)
        .order_by(FlowVersion.number.desc())
        .limit(limit)
    ).scalars()
    return [_version(row, is_published=row.id == published) for row in rows]


def _version(row: FlowVersion, *, is_published: bool) -> Version:
    return Version(
        id=row.id,
        number=row.number,
        published_at=row.published_at,
        published_by=row.published_by,
        is_published=is_published,
        document=versions.read(row.document),
    )
