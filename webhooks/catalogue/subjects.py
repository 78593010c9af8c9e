"""One subscriber as far as the mirror knows them: subscription, customer, product, price, discounts, purchases, hand-off."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from connect_app.models.base import Json
from connect_app.money import Money
from connect_app.stripe_gateway import objects

log = structlog.get_logger()
T = TypeVar("T")

# What the mirror remembers of invoices; read in after connecting, and kept from then on.
HISTORY = timedelta(days=730)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchases:
    """What the customer has paid. `first_paid_at` is their oldest paid invoice, None while that is not known for sure.

    `paid` are the newest of their payments with the times they were made; an invoice of nothing is no purchase.
    """

    first_paid_at: datetime | None = None
    is_first_known: bool = False
    paid: tuple[tuple[datetime, Money], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Everything known of one subscriber; what is not is None or empty. `subscription` is theirs, never another's.

    `products` are those of all items by id; `price` and `product` are the first item's. `invoice` is the subscription's newest.
    `as_of` says for each of subscription, customer, price, product and invoice from when it is, by Stripe's clock.
    """

    customer_id: str
    subscription_id: str
    subscription: objects.Subscription | None = None
    customer: objects.Customer | None = None
    price: objects.Price | None = None
    product: objects.Product | None = None
    products: Mapping[str, objects.Product] = field(default_factory=dict)
    discounts: tuple[objects.Discount, ...] = ()
    invoice: objects.Invoice | None = None
    purchases: Purchases = Purchases()
    custom: Mapping[str, object] = field(default_factory=dict)
    as_of: Mapping[str, datetime] = field(default_factory=dict)


# JSON of what lies around one subscriber, as a subquery: `{s}` and `{c}` are rows of subscriptions and customers, or of nothing.
_BESIDE = """(select json_build_object(
  'price', (select json_build_object('raw', r.raw, 'as_of', extract(epoch from r.as_of)) from prices r
    where r.connection_id = {connection} and r.id = {s}.price and not r.is_deleted),
  'products', (select json_object_agg(p.id, json_build_object('raw', p.raw, 'as_of', extract(epoch from p.as_of))) from products p
    where p.connection_id = {connection} and not p.is_deleted and p.id in (
      select coalesce(line #>> '{{price,product}}', line #>> '{{plan,product}}') from json_array_elements(
        case json_typeof({s}.raw #> '{{items,data}}') when 'array' then {s}.raw #> '{{items,data}}' else '[]' end) line
      union select r.product from prices r where r.connection_id = {connection} and r.id = {s}.price)),
  'discounts', (select json_object_agg(d.id, d.raw) from discounts d
    where d.connection_id = {connection} and d.subscription = {s}.id and not d.is_deleted),
  'coupons', (select json_object_agg(k.id, k.raw) from coupons k where k.connection_id = {connection} and not k.is_deleted and k.id in (
      select d.coupon from discounts d where d.connection_id = {connection} and d.subscription = {s}.id and not d.is_deleted
      union select coalesce({c}.raw #>> '{{discount,source,coupon}}', {c}.raw #>> '{{discount,coupon,id}}'))),
  'invoice', (select json_build_object('raw', i.raw, 'as_of', extract(epoch from i.as_of)) from invoices i
    where i.connection_id = {connection} and i.subscription = {s}.id and not i.is_deleted order by i.created_at desc limit 1),
  'paid', (select json_agg(json_build_array(extract(epoch from v.paid_at), v.amount_paid, v.currency)) from (
      select i.paid_at, i.amount_paid, i.currency from invoices i where i.connection_id = {connection} and i.customer = {customer}
        and i.paid_at is not null and i.amount_paid > 0 and not i.is_deleted order by i.paid_at desc limit 500) v),
  'oldest', (select extract(epoch from min(i.paid_at)) from invoices i where i.connection_id = {connection}
    and i.customer = {customer} and i.paid_at is not null and i.amount_paid > 0 and not i.is_deleted),
  'first', (select json_build_object('paid_at', extract(epoch from f.paid_at)) from first_purchases f
    where f.connection_id = {connection} and f.customer = {customer}),
  'read_in', (select n.read_in from connections n where n.id = {connection})
))"""


def beside(*, connection: str, customer: str, subscriptions: str, customers: str) -> str:
    """SQL of a subquery for `subject`'s `beside`; takes names of columns, and of the two tables or their aliases. No user's text."""
    return _BESIDE.format(connection=connection, customer=customer, s=subscriptions, c=customers)


# Names of our own tables and columns only.
_LOAD = f"""
select s.raw as subscription, s.as_of as subscription_as_of, c.raw as customer, c.as_of as customer_as_of,
  {beside(connection="w.connection", customer="w.customer", subscriptions="s", customers="c")} as beside
from (
  select cast(:connection as text) as connection, wanted.customer, wanted.subscription, wanted.place
  from unnest(cast(:customers as text[]), cast(:subscriptions as text[])) with ordinality wanted(customer, subscription, place)
) w
left join subscriptions s on s.connection_id = w.connection and s.id = w.subscription and s.customer = w.customer and not s.is_deleted
left join customers c on c.connection_id = w.connection and c.id = w.customer and not c.is_deleted
order by w.place
"""  # noqa: S608


def load(session: Session, connection_id: str, wanted: Sequence[tuple[str, str]]) -> list[Subject]:
    """The subjects of these (customer, subscription) pairs, in their order and in one query; whoever is not known comes back empty.

    A subscription of another customer counts as unknown, and so does the empty one.
    """
    if not wanted:
        return []
    given = {"connection": connection_id, "customers": [pair[0] for pair in wanted], "subscriptions": [pair[1] for pair in wanted]}
    return [
        subject(
            customer_id=customer,
            subscription_id=subscription,
            subscription=row.subscription,
            customer=row.customer,
            beside=row.beside,
            as_of={"subscription": row.subscription_as_of, "customer": row.customer_as_of},
        )
        for (customer, subscription), row in zip(wanted, session.execute(text(_LOAD), given), strict=True)
    ]


def subject(
    *,
    customer_id: str,
    subscription_id: str,
    subscription: Json | objects.Subscription | None,
    customer: Json | objects.Customer | None,
    beside: Json | None,
    as_of: Mapping[str, datetime | None],
    custom: Mapping[str, object] | None = None,
) -> Subject:
    """A subject from the mirror's JSON, or from what was read live; `beside` is what the subquery of that name gave.

    What is no such object of Stripe's is left out: one bad row must not keep a page from its customer.
    """
    known = beside or {}
    theirs = subscription if isinstance(subscription, objects.Subscription) else _read(objects.read_subscription, subscription)
    person = customer if isinstance(customer, objects.Customer) else _read(objects.read_customer, customer)
    if person is not None and person.is_deleted:
        person = None
    if theirs is not None and theirs.customer != customer_id:
        # Nothing of another's, nor of what lies around it.
        theirs, known = None, {name: part for name, part in known.items() if name in ("paid", "oldest", "first", "read_in")}
    moments = {name: at for name, at in as_of.items() if at is not None}
    price = _part(known, "price", objects.read_price, moments)
    products = {
        id: product
        for id, held in (known.get("products") or {}).items()
        if (product := _read(objects.read_product, held.get("raw"))) is not None
    }
    first = theirs.items[0].price if theirs and theirs.items else None
    sold = (price.product if price else None) or (first.product if first else None)
    if sold in products:
        moments["product"] = _moment(known["products"][sold]["as_of"])
    invoice = _part(known, "invoice", objects.read_invoice, moments)
    return Subject(
        customer_id=customer_id,
        subscription_id=subscription_id,
        subscription=theirs,
        customer=person,
        price=price or first,
        product=products.get(sold or ""),
        products=products,
        discounts=_discounts(theirs, person, known),
        invoice=invoice,
        purchases=_purchases(person, known),
        custom=custom or {},
        as_of=moments,
    )


def refreshed(
    known: Subject,
    *,
    subscription: objects.Subscription | None,
    customer: objects.Customer | None,
    as_of: datetime | None,
    custom: Mapping[str, object] | None = None,
) -> Subject:
    """The subject with what was read live in place of the mirror's; what was not read stays as it is."""
    given = dict(custom or {})
    if subscription is None or subscription.customer != known.customer_id:
        return replace(known, customer=customer or known.customer, custom=given)
    price = subscription.items[0].price if subscription.items else None
    terms = {one.id: one for one in known.discounts}
    discounts = [one if one.coupon else terms.get(one.id, one) for one in _of(subscription, customer)]
    return replace(
        known,
        subscription=subscription,
        customer=customer or known.customer,
        price=known.price if known.price and price and known.price.id == price.id else price,
        product=known.products.get((price.product if price else None) or ""),
        discounts=tuple(discounts),
        custom=given,
        as_of={**known.as_of, **({"subscription": as_of} if as_of else {})},
    )


def _part(known: Json, name: str, read: Callable[[Json], T], moments: dict[str, datetime]) -> T | None:
    held = known.get(name)
    found = _read(read, held["raw"]) if held else None
    if held and found is not None:
        moments[name] = _moment(held["as_of"])
    return found


def _read(read: Callable[[Json], T], raw: Json | None) -> T | None:
    try:
        return None if raw is None else read(raw)
    except objects.Malformed as problem:
        log.warning("catalogue.malformed", problem=str(problem)[:300])
        return None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def _discounts(subscription: objects.Subscription | None, customer: objects.Customer | None, known: Json) -> tuple[objects.Discount, ...]:
    """The subscription's own, then its items'; where it has none, the customer's. Filled in from the mirror where only an id is told."""
    if subscription is None:
        return ()
    given = _of(subscription, customer)
    held, coupons = known.get("discounts") or {}, known.get("coupons") or {}
    found = []
    for one in given:
        whole = _read(objects.read_discount, held.get(one.id or "")) if one.coupon is None else None
        one = replace(whole, subscription_item=one.subscription_item or whole.subscription_item) if whole else one
        terms = _read(objects.read_coupon, coupons.get(one.coupon or ""))
        found.append(replace(one, terms=terms or one.terms))
    return tuple(found)


def _of(subscription: objects.Subscription, customer: objects.Customer | None) -> list[objects.Discount]:
    given = [*subscription.discounts]
    given += [replace(one, subscription_item=item.id) for item in subscription.items for one in item.discounts]
    if not given and customer is not None and isinstance(theirs := customer.raw.get("discount"), dict):
        given = [one] if (one := _read(objects.read_discount, theirs)) is not None else []
    return given


def _purchases(customer: objects.Customer | None, known: Json) -> Purchases:
    paid = tuple((_moment(at), Money(amount, currency)) for at, amount, currency in known.get("paid") or () if currency)
    oldest = _moment(known["oldest"]) if known.get("oldest") is not None else None
    asked = known.get("first")
    if asked is None and not is_whole(customer, known.get("read_in") or {}):
        return Purchases(paid=paid)
    told = _moment(asked["paid_at"]) if asked and asked["paid_at"] is not None else None
    return Purchases(first_paid_at=min((at for at in (told, oldest) if at is not None), default=None), is_first_known=True, paid=paid)


def is_whole(customer: objects.Customer | None, read_in: Json) -> bool:
    """Whether the mirror has had every invoice of this customer: they are younger than what the read-in went back to."""
    edge = whole_since(read_in)
    return edge is not None and customer is not None and customer.created is not None and customer.created > edge


def whole_since(read_in: Json) -> datetime | None:
    """Of customers made after this the mirror has had every invoice; None while that is so of nobody."""
    started_at = read_in.get("started_at")
    if read_in.get("state") != "done" or "invoices" not in (read_in.get("counts") or {}) or not isinstance(started_at, str):
        return None
    return datetime.fromisoformat(started_at) - HISTORY + timedelta(days=1)
