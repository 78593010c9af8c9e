"""What a change did to the money, asked of Stripe once the change is proven: facts for the receipt, never a reason to hold it back."""

from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from connect_app import money
from connect_app.models.base import Json
from connect_app.money import Money
from connect_app.stripe_gateway.account import AccountGateway
from connect_app.stripe_gateway.errors import Missing, Refused, StripeFailure
from connect_app.stripe_gateway.gateway import Read
from connect_app.stripe_gateway.objects import Invoice, Status, Subscription, Upcoming
from jobs import receipts
from jobs.actions.ledger import CLOCKS_DIFFER
from jobs.actions.look import Ask

log = structlog.get_logger()

# So many questions are put at most: the customer waits for the answer.
_MOST = 2
# Stripe's word for a subscription that nothing is charged for any more.
_NONE_COMES = "invoice_upcoming_none"
_OVERDUE = frozenset((Status.PAST_DUE, Status.UNPAID))
_CHARGED = frozenset((Status.ACTIVE, Status.TRIALING, Status.PAST_DUE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was changed: the subscription `before` and `after`; `since` is when our calls were planned, None where we have made none.

    `may_owe`: something is known to have been open.
    """

    before: Subscription
    after: Subscription
    since: datetime | None
    may_owe: bool


def read(stripe: AccountGateway, ask: Ask, change: Change) -> receipts.Bills:
    """What Stripe tells within its first answers; what it does not tell is not known. Raises nothing that Stripe may answer."""
    known, left = receipts.Bills(made=() if _is_made_none(change) else None), _MOST
    try:
        if known.made is None and change.since is not None and change.after.latest_invoice is not None:
            left -= 1
            known = replace(known, made=_made(stripe, ask, change, change.after.latest_invoice))
        if is_charged(change.after):
            left -= 1
            known = replace(known, coming=_coming(stripe, ask, change.after))
        if left and (change.may_owe or is_suspect(change.before, change.after)):
            known = replace(known, open=_open(stripe, ask, change.after, known))
    except StripeFailure as failure:
        log.info("action.bills_unknown", subscription=change.after.id, problem=str(failure)[:200])
    return known


def is_charged(after: Subscription) -> bool:
    """Whether Stripe can be asked what comes next: of one that has ended nothing does, and while it is paused nobody knows."""
    return after.status in _CHARGED and not after.is_paused


def is_suspect(before: Subscription, after: Subscription) -> bool:
    """Whether its own state says that an invoice may be open."""
    return bool(_OVERDUE & {before.status, after.status}) or after.collection_method == "send_invoice"


def _is_made_none(change: Change) -> bool:
    return change.since is not None and change.after.latest_invoice == change.before.latest_invoice


def _made(stripe: AccountGateway, ask: Ask, change: Change, id: str) -> tuple[receipts.Bill, ...] | None:
    """The invoice that is new; None where it is another's doing: a renewal, or made before we did anything."""
    try:
        invoice: Invoice = ask("last_invoice", lambda: stripe.invoice(id)).value
    except (Missing, Refused):
        return None
    is_renewal = invoice.billing_reason == "subscription_cycle" and not change.after.is_ended
    if is_renewal or change.since is None or invoice.created < change.since - CLOCKS_DIFFER:
        return None
    return (receipts.Bill(status=invoice.status, total=invoice.total, due=invoice.due, remaining=invoice.remaining),)


def _coming(stripe: AccountGateway, ask: Ask, after: Subscription) -> tuple[receipts.Charge, ...] | None:
    """The next charge of the subscription as it stands."""
    whose: Json = {"schedule": after.schedule} if after.schedule is not None else {"subscription": after.id}

    def question() -> Read[Upcoming | None]:
        try:
            told = stripe.upcoming(whose)
        except (Missing, Refused) as refusal:
            if refusal.code != _NONE_COMES:
                raise
            return Read(value=None, as_of=after.current_period_end, request_id=refusal.request_id or "")
        return Read(value=told.value, as_of=told.as_of, request_id=told.request_id)

    try:
        upcoming = ask("next_invoice", question).value
    except (Missing, Refused):
        return None
    is_by_usage = any(item.price.usage_type == "metered" for item in after.items)
    if upcoming is None:
        # Usage until then may still be charged for.
        return None if is_by_usage else ()
    if after.is_scheduled_to_cancel and not upcoming.due.amount and not is_by_usage:
        return ()
    return (receipts.Charge(amount=None if is_by_usage else upcoming.due, at=upcoming.at),)


def _open(stripe: AccountGateway, ask: Ask, after: Subscription, known: receipts.Bills) -> tuple[Money, ...] | None:
    """What is open of this subscription, without the invoice that the change made; None where there is more than a page of it."""
    try:
        page = ask("open_invoices", lambda: stripe.invoices(subscription=after.id, status="open")).value
    except (Missing, Refused):
        return None
    is_told = bool(known.made)
    left = [invoice for invoice in page.items if not (is_told and invoice.id == after.latest_invoice)]
    return None if page.has_more or page.unreadable else money.sums(invoice.remaining for invoice in left)
