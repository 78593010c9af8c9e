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
]


class Preferences(BaseModel):
    """What the owner has decided, with the defaults for what they have not.

    `allowed_origins` are `scheme://host[:port]`; `return_url` is where a customer goes after a save or *Never mind*, `cancel_url` after a
    cancel, when the hand-off names none. Browser sessions of nobody's own (via Stripe, the operator's) are over when they began before
    `visits_end_before`. Without `attribution` no outcome is validated; a save is looked at again after `save_interval_days`.
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
