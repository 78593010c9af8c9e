"""The variables of a workspace: what each is called, its type, where it comes from, and what stands in where that fails."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import FieldMapping
from connect_app.models.base import Json
from webhooks.catalogue import Type

# Where the two ids come from: the signed part of the hand-off itself.
HAND_OFF = "handoff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """One variable. `source` is a path of the catalogue; `fallback` is text that is read where there is no value that fits.

    `is_fixed`: nobody can change or remove it. `is_default`: it is there without anybody having set it up, and where Stripe has no value a
    property of the same name in the hand-off stands in.
    """

    name: str
    type: Type
    source: str
    fallback: str | None = None
    is_fixed: bool = False
    is_default: bool = False


def _default(name: str, type: Type, source: str, fallback: str) -> Mapping:
    return Mapping(name=name, type=type, source=source, fallback=fallback, is_default=True)


FIXED = (
    Mapping(name="subscription_id", type="text", source=HAND_OFF, is_fixed=True),
    Mapping(name="customer_id", type="text", source=HAND_OFF, is_fixed=True),
)
DEFAULTS = (
    _default("first_name", "text", "first_name", "there"),
    _default("customer_name", "text", "customer.name", "there"),
    _default("email", "email", "customer.email", "your email address"),
    _default("plan_name", "text", "plan_name", "your plan"),
    _default("renewal_date", "date", "next_invoice_date", "the end of your billing period"),
    _default("amount", "money", "subscription.amount", "your usual price"),
)


def of_workspace(session: Session, workspace_id: str) -> list[Mapping]:
    """All variables of a workspace, the fixed ones first, then by name. One query."""
    columns = FieldMapping.name, FieldMapping.type, FieldMapping.source, FieldMapping.fallback
    rows = session.execute(select(*columns).where(FieldMapping.workspace_id == workspace_id))
    return overlaid([row._asdict() for row in rows])


def overlaid(rows: list[Json] | None) -> list[Mapping]:
    """The same from rows `{name, type, source, fallback}`: what the owner has set up stands in place of a default of that name."""
    own = {row["name"]: Mapping(**row) for row in rows or ()}
    every = {mapping.name: mapping for mapping in DEFAULTS} | own
    return [*FIXED, *sorted((one for one in every.values() if one.name not in _RESERVED), key=lambda one: one.name)]


_RESERVED = frozenset(mapping.name for mapping in FIXED)
