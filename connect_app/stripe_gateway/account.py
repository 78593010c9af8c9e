"""Stripe on behalf of one connected account: what we read there, and the few things we change."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeVar

from connect_app.stripe_gateway import answers, objects, wire
from connect_app.stripe_gateway.answers import Page, Read
from connect_app.stripe_gateway.calls import Call

T = TypeVar("T")
# Bounds in Unix seconds: `{"gte": 1700000000, "lt": 1700086400}`, either or both.
Created = Mapping[str, int] | None

# Stripe's own limit on the `types` of one call of `events`.
EVENT_TYPES_PER_CALL = 20
_SUBSCRIPTION_EXPAND = ("discounts.source.coupon.applies_to", "items.data.price.product", "items.data.discounts")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    """How one method of a `Call` is sent. Stripe documents idempotency keys for POST alone."""

    folder: str
    verb: str | None = None
    method: Literal["post", "delete"] = "post"
    has_target: bool = True


_WRITES = {
    "subscriptions.update": _Write(folder="subscriptions"),
    "subscriptions.cancel": _Write(folder="subscriptions", method="delete"),
    "subscriptions.resume": _Write(folder="subscriptions", verb="resume"),
    "coupons.create": _Write(folder="coupons", has_target=False),
    "invoices.void": _Write(folder="invoices", verb="void"),
    "invoices.update": _Write(folder="invoices"),
    "subscription_schedules.create": _Write(folder="subscription_schedules", has_target=False),
    "subscription_schedules.update": _Write(folder="subscription_schedules"),
    "subscription_schedules.release": _Write(folder="subscription_schedules", verb="release"),
    "subscription_schedules.cancel": _Write(folder="subscription_schedules", verb="cancel"),
}


class AccountGateway:
    """The verbs; each is one request and one attempt, and fails as one of the four kinds of `errors`."""

    __slots__ = ("_wire", "account_id")

    def __init__(self, account_wire: wire.Wire, account_id: str) -> None:
        self._wire = account_wire
        self.account_id = account_id

    # Reads of one object. Missing when the account has none of that id.

    def account(self) -> Read[objects.Account]:
        """Who the account is."""
        return self._get(objects.read_account, "account")

    def subscription(self, subscription_id: str) -> Read[objects.Subscription]:
        """With discounts, their coupons, the items' own discounts, and the items' products."""
        return self._get(objects.read_subscription, "subscriptions", subscription_id, expand=_SUBSCRIPTION_EXPAND)

    def customer(self, customer_id: str) -> Read[objects.Customer]:
        """A deleted customer is answered, too, as what is left of it."""
        return self._get(objects.read_customer, "customers", customer_id)

    def customer_with_coupon(self, customer_id: str) -> Read[objects.Customer]:
        """With the terms of their own discount."""
        return self._get(objects.read_customer, "customers", customer_id, expand=("discount.source.coupon.applies_to",))

    def price(self, price_id: str) -> Read[objects.Price]:
        """With its product's name."""
        return self._get(objects.read_price, "prices", price_id, expand=("product",))

    def product(self, product_id: str) -> Read[objects.Product]:
        return self._get(objects.read_product, "products", product_id)

    def coupon(self, coupon_id: str) -> Read[objects.Coupon]:
        """With the products it is limited to."""
        return self._get(objects.read_coupon, "coupons", coupon_id, expand=("applies_to",))

    def schedule(self, schedule_id: str) -> Read[objects.Schedule]:
        """With the phases that are over."""
        return self._get(objects.read_schedule, "subscription_schedules", schedule_id)

    def invoice(self, invoice_id: str) -> Read[objects.Invoice]:
        return self._get(objects.read_invoice, "invoices", invoice_id)

    def charge(self, charge_id: str) -> Read[objects.Charge]:
        """With its newest dispute under `dispute`, which takes a second read: a charge itself only says that there is one."""
        read = self._get(objects.read_charge, "charges", charge_id)
        if not read.value.is_disputed:
            return read
        params = {"charge": charge_id, "limit": 1}
        disputes = self._wire.ask("get", wire.path("disputes"), params, account=self.account_id)
        newest = objects.Shape(disputes.body).listed("data")[:1]
        charge = objects.read_charge({**read.value.raw, "dispute": newest[0] if newest else None})
        return Read(value=charge, as_of=read.as_of, request_id=read.request_id)

    def invoice_paid_by(self, payment_intent: str) -> Read[str | None]:
        """The id of the invoice that a payment was for; None where it was for none. Since 2025-03-31 only the invoice's payments tell."""
        payment = {"type": "payment_intent", "payment_intent": payment_intent}
        answer = self._wire.ask("get", wire.path("invoice_payments"), {"payment": payment, "limit": 1}, account=self.account_id)
        return answers.read(answer, lambda raw: next((part.reference("invoice") for part in objects.Shape(raw).parts("data")), None))

    def upcoming(self, changes: Mapping[str, object]) -> Read[objects.Upcoming]:
        """The next bill if these changes were made (`invoices.create_preview`'s parameters); nothing is changed.

        Refused with code `invoice_upcoming_none` where no bill would come.
        """
        return self._post(objects.read_upcoming, changes, "invoices", "create_preview")

    def payment_method(self, payment_method_id: str) -> Read[objects.PaymentMethod]:
        return self._get(objects.read_payment_method, "payment_methods", payment_method_id)

    # Pages: newest first, at most 100 to a page; `created` cuts out a range of times.

    def products(self, *, after: str | None = None, limit: int = 100, created: Created = None) -> Read[Page[objects.Product]]:
        """Active or not."""
        return self._list("products", objects.read_product, after, limit, created=created)

    def prices(self, *, after: str | None = None, limit: int = 100, created: Created = None) -> Read[Page[objects.Price]]:
        """Active or not, with their products' names."""
        return self._list("prices", objects.read_price, after, limit, created=created, expand=["data.product"])

    def coupons(self, *, after: str | None = None, limit: int = 100, created: Created = None) -> Read[Page[objects.Coupon]]:
        """Valid or not: Stripe has no filter for it."""
        return self._list("coupons", objects.read_coupon, after, limit, created=created, expand=["data.applies_to"])

    def customers(self, *, after: str | None = None, limit: int = 100, created: Created = None) -> Read[Page[objects.Customer]]:
        """Deleted customers are not among them."""
        return self._list("customers", objects.read_customer, after, limit, created=created)

    def subscriptions(
        self,
        *,
        after: str | None = None,
        limit: int = 100,
        status: str | None = "all",
        customer: str | None = None,
        created: Created = None,
    ) -> Read[Page[objects.Subscription]]:
        """`status=None` leaves out the canceled ones. Products are not expanded: a list's depth of four is used up before them."""
        expand = ["data.discounts.source.coupon"]
        filters = {"status": status, "customer": customer, "created": created}
        return self._list("subscriptions", objects.read_subscription, after, limit, expand=expand, **filters)

    def schedules(self, *, after: str | None = None, limit: int = 100, created: Created = None) -> Read[Page[objects.Schedule]]:
        """Subscription schedules, those that are over, too."""
        return self._list("subscription_schedules", objects.read_schedule, after, limit, created=created)

    def invoices(
        self,
        *,
        after: str | None = None,
        limit: int = 100,
        customer: str | None = None,
        subscription: str | None = None,
        status: str | None = None,
        created: Created = None,
    ) -> Read[Page[objects.Invoice]]:
        """Invoices of the account, or of one customer or subscription."""
        filters = {"customer": customer, "subscription": subscription, "status": status, "created": created}
        return self._list("invoices", objects.read_invoice, after, limit, **filters)

    def refunded_charges(self, *, after: str | None = None, limit: int = 100, created: Created = None) -> Read[Page[objects.Charge]]:
        """What was paid and given back, by the times of the refunds. A charge that is disputed too is left to `disputed_charges`."""
        page = self._list("refunds", objects.read_refunded_charge, after, limit, created=created, expand=["data.charge"])
        return _each_once(page)

    def disputed_charges(self, *, after: str | None = None, limit: int = 100, created: Created = None) -> Read[Page[objects.Charge]]:
        """What was paid and is or was disputed, by the times of the disputes, each with its newest dispute of this page."""
        page = self._list("disputes", objects.read_disputed_charge, after, limit, created=created, expand=["data.charge"])
        return _each_once(page)

    def portal_configurations(self, *, after: str | None = None, limit: int = 100) -> Read[Page[objects.PortalConfiguration]]:
        """The active configurations of Stripe's own billing portal."""
        read = objects.read_portal_configuration
        return self._list("billing_portal/configurations", read, after, limit, active=True)

    def events(
        self, *, types: Iterable[str], created_gte: datetime, created_lt: datetime | None = None, after: str | None = None, limit: int = 100
    ) -> Read[Page[objects.Event]]:
        """The last 30 days' news of at most EVENT_TYPES_PER_CALL types, newest first. Take ids only: each is rendered in an old version."""
        wanted = list(types)
        if not 0 < len(wanted) <= EVENT_TYPES_PER_CALL:
            raise ValueError(f"between one and {EVENT_TYPES_PER_CALL} event types, not {len(wanted)}")
        created = {"gte": int(created_gte.timestamp())} | ({} if created_lt is None else {"lt": int(created_lt.timestamp())})
        return self._list("events", objects.read_event, after, limit, types=wanted, created=created)

    # Changes.

    def write(self, call: Call, *, idempotency_key: str) -> Read[str]:
        """Send a planned call under its key; gives the id of what was changed or made.

        Sent again with the same key within 24 h it has no second effect. The answer is not yet proof: read the subscription back.
        Raises ValueError for a method that is not in the table, and Missing where a cancel finds nothing that still runs.
        """
        if (how := _WRITES.get(call.method)) is None:
            raise ValueError(f"no such call: {call.method!r}")
        if not 0 < len(idempotency_key) <= 255:
            raise ValueError("an idempotency key has between 1 and 255 characters")
        where = wire.path(how.folder, *((call.target,) if how.has_target else ()), *((how.verb,) if how.verb else ()))
        key = idempotency_key if how.method == "post" else None
        answer = self._wire.ask(how.method, where, call.params, account=self.account_id, idempotency_key=key)
        return answers.read(answer, lambda raw: objects.Shape(raw).name())

    def close_portal_cancel(self, configuration_id: str) -> Read[objects.PortalConfiguration]:
        """Turn off *Cancel subscriptions* in one billing portal configuration, and nothing else."""
        params = {"features": {"subscription_cancel": {"enabled": False}}}
        return self._post(objects.read_portal_configuration, params, "billing_portal", "configurations", configuration_id)

    def card_update_session(self, customer_id: str, *, return_url: str) -> Read[str]:
        """A URL at Stripe where the customer gives a new card and comes back; good for minutes, so made at the click and never kept.

        The new card becomes the customer's default; a subscription with a payment method of its own keeps that one.
        """
        done = {"type": "redirect", "redirect": {"return_url": return_url}}
        flow = {"type": "payment_method_update", "after_completion": done}
        params = {"customer": customer_id, "return_url": return_url, "flow_data": flow}
        return self._post(lambda raw: objects.Shape(raw).text("url"), params, "billing_portal", "sessions")

    def _get(self, reader: Callable[[Mapping[str, object]], T], *parts: str, expand: tuple[str, ...] = ()) -> Read[T]:
        params = {"expand": list(expand)} if expand else {}
        return answers.read(self._wire.ask("get", wire.path(*parts), params, account=self.account_id), reader)

    def _post(
        self,
        reader: Callable[[Mapping[str, object]], T],
        params: Mapping[str, object],
        *parts: str,
        idempotency_key: str | None = None,
    ) -> Read[T]:
        answer = self._wire.ask("post", wire.path(*parts), params, account=self.account_id, idempotency_key=idempotency_key)
        return answers.read(answer, reader)

    def _list(
        self, folder: str, reader: Callable[[Mapping[str, object]], T | None], after: str | None, limit: int, **filters: object
    ) -> Read[Page[T]]:
        return answers.list_page(self._wire, self.account_id, folder, reader, {"limit": limit, "starting_after": after, **filters})


def _each_once(read: Read[Page[objects.Charge]]) -> Read[Page[objects.Charge]]:
    """The page without what it named before: a charge can be given back in parts."""
    found: dict[str, objects.Charge] = {}
    for charge in read.value.items:
        found.setdefault(charge.id, charge)
    return replace(read, value=replace(read.value, items=tuple(found.values())))
