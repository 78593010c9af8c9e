"""What a confirmed cancel does: the owner's options, which of the customer's subscriptions it can end, and what becomes of what is owed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from connect_app.models.base import Json
from connect_app.preferences import Preferences
from connect_app.stripe_gateway.objects import Status, Subscription
from flow_pages import parts
from flow_pages.document import CancelOptions
from flow_pages.visits import Visit
from webhooks import mirror


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A subscription that the cancel would end. `intent` is that of jobs.plans.Wish; `is_owing`: it has an invoice that is not paid."""

    subscription: Subscription
    intent: Json
    is_owing: bool

    @property
    def is_at_once(self) -> bool:
        """It ends with the confirmation: the owner wants it so, or it has not begun."""
        return self.intent["when"] == "now" or self.subscription.status is Status.INCOMPLETE

    @property
    def is_voiding(self) -> bool:
        return bool(self.intent["open_invoices"] == "void")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What one confirmation can be about: `this` subscription, one of its `parts`, or also the customer's `others` that run and have no
    end yet.

    `is_all`: where there are others, the owner would have them end as well; the customer decides.
    """

    this: Ending
    parts: tuple[parts.Part, ...]
    others: tuple[Ending, ...]
    is_all: bool

    @property
    def told(self) -> str:
        """A word for all that the customer was told, which is another one once any of it is."""
        said: list[object] = [(one.subscription.id, one.intent, one.is_owing) for one in (self.this, *self.others)]
        said += [part.intent for part in self.parts]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]


def options(visit: Visit) -> CancelOptions:
    """What the flow says, or else the workspace."""
    return visit.flow.cancel or of_workspace(visit.preferences)


def of_workspace(said: Preferences) -> CancelOptions:
    """What holds for flows that have no options of their own."""
    return CancelOptions(
        when=said.cancel_when,
        scope=said.cancel_scope,
        invoice_now=said.cancel_invoice_now,
        prorate=said.cancel_prorate,
        open_invoices=said.cancel_open_invoices,
        single=said.cancel_single,
    )


def reach(session: Session, visit: Visit, now: datetime) -> Reach | None:
    """What this customer can cancel here; None where the subscription or its account is not known. Two queries, four for several items."""
    if visit.subscription is None or visit.connection is None:
        return None
    this, wanted = visit.subscription, options(visit)
    every = mirror.subscriptions_of(session, visit.connection.id, visit.row.customer)
    others = [one for one in every if one.id != this.id and not one.is_ended and not one.is_scheduled_to_cancel]
    owing = mirror.owing(session, visit.connection.id, [this.id, *(one.id for one in others)])
    ending = _ending(wanted, this, now, this.id in owing)
    return Reach(
        this=ending,
        parts=parts.of(session, visit, this, ending.intent, now) if wanted.single else (),
        others=tuple(_ending(wanted, one, now, one.id in owing) for one in others),
        is_all=wanted.scope == "all",
    )


def intents(session: Session, visit: Visit, now: datetime, *, scope: str | None = None, told: str | None = None) -> dict[str, Json] | None:
    """What is asked for of each subscription, by its id, as `scope` has it: `this`, `all`, the id of an item, else what the owner says.

    None where the page said something else (`told`, where it is given) than what would be done now, or the item cannot be canceled alone.
    """
    found = reach(session, visit, now)
    if found is None:
        return {visit.row.subscription: _intent(options(visit))}
    if told and told != found.told:
        return None
    if scope and scope.startswith("si_"):
        return next(({found.this.subscription.id: part.intent} for part in found.parts if part.id == scope), None)
    is_all = found.is_all if scope not in ("this", "all") else scope == "all"
    return {one.subscription.id: one.intent for one in (found.this, *(found.others if is_all else ()))}


def _ending(wanted: CancelOptions, subscription: Subscription, now: datetime, has_open_invoice: bool) -> Ending:
    intent = _intent(wanted)
    # What a mirror says that is behind by a renewal is no promise.
    if subscription.next_charge is not None and subscription.next_charge > now:
        intent["renews_at"] = subscription.next_charge.isoformat()
    is_owing = has_open_invoice or subscription.status in (Status.PAST_DUE, Status.UNPAID)
    return Ending(subscription=subscription, intent=intent, is_owing=is_owing)


def _intent(wanted: CancelOptions) -> Json:
    is_now = wanted.when == "now"
    bills: Mapping[str, bool] = {"invoice_now": is_now and wanted.invoice_now, "prorate": is_now and wanted.prorate}
    return {"when": wanted.when, **bills, "open_invoices": wanted.open_invoices}
