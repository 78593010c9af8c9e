"""A workspace's settings: their names, shapes and defaults, and reading and saving them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app.models import Setting

Name = Literal[
    "allowed_origins",
    "return_url",
    "cancel_url",
    "display",
    "plain_cancel_only",
    "enrichment",
    "stripe_sign_in",
    "visits_end_before",
    "attribution",
    "save_interval_days",
    "manage_offers",
    "manage_cancels",
    "cancel_when",
    "cancel_scope",
    "cancel_invoice_now",
    "cancel_prorate",
    "cancel_open_invoices",
    "cancel_single",
    "portal_code",
]


class Preferences(BaseModel):
    """What the owner has decided, with the defaults for what they have not.

    `allowed_origins` are `scheme://host[:port]`; `return_url` is where a customer goes after a save or *Never mind*, `cancel_url` after a
    cancel, when the hand-off names none. Browser sessions of nobody's own (via Stripe, the operator's) are over when they began before
    `visits_end_before`. Without `attribution` no outcome is validated; a save is looked at again after `save_interval_days`.
    Without `manage_offers` (`manage_cancels`) the business's own system changes Stripe, and Holdfast only asks for it. The `cancel_…` are
    what a confirmed cancel does where the flow does not say otherwise: when it ends, which of the customer's subscriptions, whether one
    that ends now is billed for what is outstanding and pays back what was not used, what becomes of open invoices, and whether one of
    several items may be canceled alone.
    With `portal_code` a portal link that is older than a day asks for an emailed code before a cancel or a pause.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    allowed_origins: tuple[str, ...] = ()
    return_url: str | None = None
    cancel_url: str | None = None
    display: Literal["redirect", "modal"] = "redirect"
    plain_cancel_only: bool = False
    enrichment: bool = True
    stripe_sign_in: bool = True
    visits_end_before: datetime | None = None
    attribution: bool = True
    save_interval_days: int = 30
    manage_offers: bool = True
    manage_cancels: bool = True
    cancel_when: Literal["period_end", "now"] = "period_end"
    cancel_scope: Literal["this", "all"] = "this"
    cancel_invoice_now: bool = False
    cancel_prorate: bool = False
    cancel_open_invoices: Literal["keep", "void"] = "keep"
    cancel_single: bool = False
    portal_code: bool = True


def read(session: Session, workspace_id: str) -> Preferences:
    """All settings of the transaction's workspace, in one query."""
    rows = session.execute(select(Setting.name, Setting.value).where(Setting.workspace_id == workspace_id))
    return Preferences.model_validate({row.name: row.value["value"] for row in rows})


def save(session: Session, workspace_id: str, name: Name, value: Any, at: datetime) -> None:
    """Set one setting; the value has been validated where it came in."""
    row = insert(Setting).values(workspace_id=workspace_id, name=name, value={"value": value}, updated_at=at)
    session.execute(
        row.on_conflict_do_update(index_elements=[Setting.workspace_id, Setting.name], set_={"value": row.excluded.value, "updated_at": at})
    )
