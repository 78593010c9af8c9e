"""The first charge after a pause: which bill that is, what became of it, and telling the owners of one that failed."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from connect_app.models import Action, Connection, Pause
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.objects import Invoice, Status, Subscription
from jobs import owners

_OVERDUE = (Status.PAST_DUE, Status.UNPAID)


def first(row: Pause, subscription: Subscription | None, invoices: Iterable[Invoice]) -> tuple[str, str | None] | None:
    """(`paid`, `failed` or `none`, the invoice's id) of the first bill that the pause did not put away; None while it has yet to come.

    A pause leaves void bills behind, free time ones that were given up before anybody was asked for the money. `invoices` are the
    subscription's since the pause began.
    """
    for one in sorted(invoices, key=lambda one: one.created):
        if one.created < row.started_at.replace(microsecond=0):
            continue
        if one.status == "paid":
            return "paid", one.id
        is_tried = bool(one.raw.get("attempted")) and one.status in ("open", "uncollectible")
        # One that is sent to be paid by hand is asked for by nobody: it has failed when it is given up.
        is_charged = subscription is not None and subscription.collection_method == "charge_automatically"
        if is_tried or (one.status == "open" and is_charged and subscription is not None and subscription.status in _OVERDUE):
            return "failed", one.id
    if row.how == "canceled" or subscription is None or subscription.is_ended:
        return "none", None
    return None


def failed(rt: Runtime, session: Session, action: Action, connection: Connection, invoice_id: str) -> None:
    """One letter to the owners; their customer is told by Stripe, as the account's settings have it."""
    what = "free time" if action.verb == "extension" else "pause"
    owners.write(
        rt,
        session,
        action.workspace_id,
        action.mode,
        topic=f"pause/{action.id}/charge",
        subject=f"The first charge after a {what} has failed" if what == "pause" else "The first charge after free time has failed",
        lines=[
            f"The {what} of subscription {action.subscription} is over, and the first bill after it, {invoice_id}, was not paid.",
            "What Stripe does next, your account's settings for failed payments say. A word to the customer may help.",
        ],
        page=f"/customers/{action.customer}",
        sign=f"Holdfast, for {connection.account_name} ({connection.account}, {connection.mode} mode)",
    )
