"""The offers of a workspace: kept, ordered, switched on and off, and composed into the default flow whenever one of them changes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import Field, TypeAdapter
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from connect_app import audit, ids
from connect_app.errors import NotFound
from connect_app.models import Offer as Row
from connect_app.models.base import Json
from flow_pages import document
from flow_pages.document import Flow, Offer
from flow_pages.document.parts import NEW, Name, Part

MOST = 50
# A flow's document holds no longer chain.
MOST_IN_A_ROW = 20
_OFFER: TypeAdapter[Offer] = TypeAdapter(Offer)


class NotKept(ValueError):
    """An offer that could not be saved, and why, in words for the owner."""


class Placement(Part):
    """Where an offer stands in the flow: before the survey, after some of its reasons, or after any of them."""

    where: Literal["opening", "reasons", "closing"] = "reasons"
    reasons: tuple[Name, ...] = Field(default=(), max_length=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An offer by name: what it is, where it stands, whether it is switched on, and its place among the others."""

    id: str
    name: str
    offer: Offer
    placement: Placement
    is_on: bool
    position: int
    changed_at: datetime


def listing(session: Session, workspace_id: str) -> list[Kept]:
    """All offers, in the order in which they are made."""
    rows = session.execute(select(Row).where(Row.workspace_id == workspace_id).order_by(Row.position, Row.id)).scalars()
    return [_kept(row) for row in rows]


def get(session: Session, workspace_id: str, offer_id: str) -> Kept:
    """One offer. Raises NotFound for one that this workspace does not have."""
    return _kept(_row(session, workspace_id, offer_id))


def naming(session: Session, workspace_id: str, audience_id: str) -> list[str]:
    """The names of the offers that are for this audience, switched on or not."""
    asked = select(Row.name).where(Row.workspace_id == workspace_id, Row.document["audience"].astext == audience_id)
    return list(session.execute(asked.order_by(Row.position, Row.id)).scalars())


def add(session: Session, workspace_id: str, *, name: str, offer: Offer, placement: Placement, now: datetime, by: str) -> str:
    """Keep a new offer at the end of the order, switched on; gives its id, which takes the place of the given one. Raises NotKept."""
    there = session.execute(select(func.count(), func.max(Row.position)).where(Row.workspace_id == workspace_id)).one()
    if there[0] >= MOST:
        raise NotKept(f"A workspace has {MOST} offers at most. Delete one that is no longer made.")
    offer_id = ids.new("off")
    session.add(
        Row(
            id=offer_id,
            workspace_id=workspace_id,
            name=name,
            document=_json(offer.model_copy(update={"id": offer_id})),
            placement=placement.model_dump(mode="json"),
            is_on=True,
            position=(there[1] or 0) + 1,
            created_at=now,
            changed_at=now,
        )
    )
    session.flush()
    _tell(session, workspace_id, offer_id, "offer.added", now, by, {"name": name, "kind": offer.kind})
    return offer_id


def save(
    session: Session, workspace_id: str, offer_id: str, *, name: str, offer: Offer, placement: Placement, now: datetime, by: str
) -> None:
    """Change an offer, from the next published version on. Its kind stays: what was accepted is counted by it. Raises NotFound, NotKept."""
    row = _row(session, workspace_id, offer_id)
    if row.document.get("kind") != offer.kind:
        raise NotKept("The kind of an offer cannot be changed. Make another one.")
    row.name, row.changed_at = name, now
    row.document = _json(offer.model_copy(update={"id": offer_id}))
    row.placement = placement.model_dump(mode="json")
    session.flush()
    _tell(session, workspace_id, offer_id, "offer.changed", now, by, {"name": name})


def switch(session: Session, workspace_id: str, offer_id: str, *, is_on: bool, now: datetime, by: str) -> None:
    """Make an offer, or stop making it. Raises NotFound."""
    row = _row(session, workspace_id, offer_id)
    row.is_on, row.changed_at = is_on, now
    session.flush()
    _tell(session, workspace_id, offer_id, "offer.switched_on" if is_on else "offer.switched_off", now, by, {})


def move(session: Session, workspace_id: str, order: Sequence[str], now: datetime, by: str) -> None:
    """Put the offers into this order; ids that are not there are passed over, and offers not named keep theirs at the end."""
    rows = {row.id: row for row in session.execute(select(Row).where(Row.workspace_id == workspace_id).order_by(Row.position)).scalars()}
    named = [name for name in dict.fromkeys(order) if name in rows]
    for position, offer_id in enumerate([*named, *(name for name in rows if name not in named)], start=1):
        rows[offer_id].position = position
    session.flush()
    audit.record(session, workspace_id, actor=by, verb="offers.ordered", at=now, details={"order": named})


def remove(session: Session, workspace_id: str, offer_id: str, now: datetime, by: str) -> None:
    """Delete an offer; versions that were published with it keep it. Raises NotFound."""
    row = _row(session, workspace_id, offer_id)
    _tell(session, workspace_id, offer_id, "offer.deleted", now, by, {"name": row.name})
    session.execute(delete(Row).where(Row.workspace_id == workspace_id, Row.id == offer_id))


def compose(flow: Flow, kept: Sequence[Kept]) -> Flow:
    """The flow with the offers that are switched on, each where it is placed; reasons that the survey no longer has lead nowhere.

    Raises NotKept where too many stand at one place.
    """
    made = [one for one in kept if one.is_on]
    chains: dict[str, list[str]] = {"opening": [], "closing": []}
    by_reason: dict[str, list[str]] = {}
    for one in made:
        if one.placement.where == "reasons":
            for reason in one.placement.reasons:
                by_reason.setdefault(reason, []).append(one.id)
        else:
            chains[one.placement.where].append(one.id)
    if any(len(chain) > MOST_IN_A_ROW for chain in (*chains.values(), *by_reason.values())):
        raise NotKept(f"More than {MOST_IN_A_ROW} offers would follow each other at one place. Switch one off, or place it elsewhere.")
    survey = flow.survey
    if survey is not None:
        reasons = tuple(reason.model_copy(update={"offers": tuple(by_reason.get(reason.id, ()))}) for reason in survey.reasons)
        survey = survey.model_copy(update={"reasons": reasons})
    placed = {name for chain in (*chains.values(), *by_reason.values()) for name in chain}
    changed = {
        **flow.as_json(),
        "survey": survey.model_dump(mode="json") if survey is not None else None,
        "offers": [_json(one.offer) for one in made if one.id in placed],
        **chains,
    }
    return document.parse(changed)


def _kept(row: Row) -> Kept:
    return Kept(
        id=row.id,
        name=row.name,
        offer=read(row.document),
        placement=Placement.model_validate({**row.placement, "reasons": tuple(row.placement.get("reasons", ()))}),
        is_on=row.is_on,
        position=row.position,
        changed_at=row.changed_at,
    )


def read(value: Json, *, is_new: bool = False) -> Offer:
    """The offer in a document; raises pydantic's ValidationError naming each place that is wrong. `is_new`: see `document.parse`."""
    return _OFFER.validate_json(json.dumps(value), context=NEW if is_new else None)


def _row(session: Session, workspace_id: str, offer_id: str) -> Row:
    row = session.execute(select(Row).where(Row.workspace_id == workspace_id, Row.id == offer_id).with_for_update()).scalar_one_or_none()
    if row is None:
        raise NotFound(code="not_found", message="There is no such offer in this workspace.")
    return row


def _json(offer: Offer) -> Json:
    kept: Json = offer.model_dump(mode="json")
    return kept


def _tell(session: Session, workspace_id: str, offer_id: str, verb: str, now: datetime, by: str, details: Json) -> None:
    audit.record(session, workspace_id, actor=by, verb=verb, at=now, target=offer_id, details=details)
