"""The coupons and prices of the connected account as the owner picks them, read from the mirror: those that can be used."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from connect_app import money
from connect_app.models import Price as Row
from connect_app.models import Product, Subscription
from connect_app.stripe_gateway import objects
from connect_app.stripe_gateway.objects import Coupon, Price
from flow_pages.document import DiscountOffer, Offer
from flow_pages.offers import named, saving
from flow_pages.offers.terms import of_coupon
from webhooks import mirror

_LOCALE = "en"
# An id with other characters could not stand in a flow's document.
_COUPON, _PRICE = re.compile(r"[A-Za-z0-9_-]{1,200}"), re.compile(r"[A-Za-z0-9_]{1,200}")
# So many are listed; whoever has more searches for the one they mean.
LISTED = 40
_READ = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A coupon or a price that can be offered: its name, its terms such as `25% off for 3 months`, and what it is limited to.

    `problem` says why one that was picked earlier can no longer be used; None where it can.
    """

    id: str
    name: str
    terms: str
    currency: str | None = None
    product: str | None = None
    problem: str | None = None

    @property
    def label(self) -> str:
        """Name and terms, once where the name says it already."""
        return self.name if self.terms.lower() in self.name.lower() else f"{self.name}: {self.terms}"

    def holds(self, search: str) -> bool:
        """Whether every word of a search is found in it."""
        said = " ".join(filter(None, (self.id, self.name, self.terms, self.currency, self.product))).lower()
        return all(word in said for word in search.lower().split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Picker:
    """What can be picked: `picked` first, in their order, then those that fit the search; `more` were left out. `total` can be used."""

    picked: tuple[Choice, ...]
    others: tuple[Choice, ...]
    more: int
    total: int


def coupons(session: Session, connection_id: str | None, picked: str | None, search: str = "") -> Picker:
    """The account's valid coupons; one that was picked and can no longer be used is there with its problem."""
    every = mirror.coupons(session, connection_id) if connection_id is not None else []
    names = _products(session, connection_id, {product for one in every for product in one.products or ()})
    usable = [_coupon(one, names) for one in every if one.valid and not one.is_deleted and _COUPON.fullmatch(one.id)]
    known = {one.id: _coupon(one, names, None if one.valid else "Stripe no longer accepts it, so it is not offered") for one in every}
    return _picker(usable, [known.get(picked) or _gone(picked)] if picked else [], search)


def prices(session: Session, connection_id: str | None, picked: Sequence[str], search: str = "") -> Picker:
    """The account's prices that somebody can be moved to: active, recurring, and not billed by usage alone."""
    every = _prices(session, connection_id, picked) if connection_id is not None else []
    names = _products(session, connection_id, {one.product for one in every if one.product})
    usable = [_price(one, names) for one in every if _unfit(one) is None and _PRICE.fullmatch(one.id)]
    known = {one.id: _price(one, names, _unfit(one)) for one in every}
    return _picker(sorted(usable, key=lambda one: one.name.lower()), [known.get(id) or _gone(id) for id in picked], search)


def labels(session: Session, connection_id: str | None, offers: Iterable[Offer], mode: str) -> dict[str, str]:
    """What the coupons and prices that these offers name are called, by id; those that the mirror lacks are left out."""
    held, sold = named(offers, mode)
    if connection_id is None or not (held or sold):
        return {}
    found = {id: coupon for id in held if (coupon := mirror.coupon(session, connection_id, id)) is not None}
    priced = [price for id in sold if (price := mirror.price(session, connection_id, id)) is not None]
    names = _products(session, connection_id, {one.product for one in priced if one.product})
    told = {id: _coupon(one, {}).label + ("" if one.valid else ", which Stripe no longer accepts") for id, one in found.items()}
    return told | {one.id: _price(one, names).label + (f", {problem}" if (problem := _unfit(one)) else "") for one in priced}


def currencies(session: Session, connection_id: str | None) -> list[str]:
    """The currencies that the account's customers pay in, those of most subscriptions first; US dollars where there are none yet."""
    count = func.count()
    paid = select(Subscription.currency).where(Subscription.connection_id == connection_id, Subscription.currency.is_not(None))
    rows = session.execute(paid.group_by(Subscription.currency).order_by(count.desc(), Subscription.currency).limit(8)).scalars()
    return [one for one in rows if one] or ["usd"]


def is_offered(session: Session, connection_id: str | None, coupon_id: str) -> bool:
    """Whether the account has this coupon and Stripe still accepts it."""
    coupon = mirror.coupon(session, connection_id, coupon_id) if connection_id else None
    return coupon is not None and coupon.valid and not coupon.is_deleted


def is_ready(session: Session, connection_id: str | None, offer: Offer, mode: str) -> bool:
    """Whether an offer has all that it needs in this mode: its coupon, or one of its prices."""
    held, sold = named([offer], mode)
    if isinstance(offer, DiscountOffer) and offer.mint is None:
        return any(is_offered(session, connection_id, one) for one in held)
    if offer.kind != "plan_change":
        return True
    found = [mirror.price(session, connection_id, one) for one in sold] if connection_id is not None else []
    return any(one is not None and _unfit(one) is None for one in found)


def terms(coupon: Coupon) -> str:
    """What the coupon comes to, in words."""
    return f"{saving(of_coupon(coupon), _LOCALE)} off {lasting(coupon.duration, coupon.duration_in_months)}"


def lasting(duration: str, months: int | None) -> str:
    """How long a discount lasts: `on the next bill`, `for 3 months`, `forever`."""
    lasts = {"forever": "forever", "once": "on the next bill"}
    return lasts.get(duration) or ("for 1 month" if (months or 1) == 1 else f"for {months} months")


def _picker(usable: list[Choice], picked: list[Choice], search: str) -> Picker:
    taken = {one.id for one in picked}
    fitting = [one for one in usable if one.id not in taken and one.holds(search)]
    return Picker(picked=tuple(picked), others=tuple(fitting[:LISTED]), more=max(0, len(fitting) - LISTED), total=len(usable))


def _coupon(coupon: Coupon, names: dict[str, str], problem: str | None = None) -> Choice:
    only = ", ".join(names.get(one, one) for one in coupon.products or ())
    currency = coupon.amount_off.currency.upper() if coupon.amount_off is not None else None
    return Choice(
        id=coupon.id, name=coupon.name or coupon.id, terms=terms(coupon), currency=currency, product=only or None, problem=problem
    )


def _price(price: Price, names: dict[str, str], problem: str | None = None) -> Choice:
    product = names.get(price.product or "") or price.product_name
    return Choice(
        id=price.id,
        name=product or price.nickname or price.id,
        terms=_cost(price),
        currency=price.currency.upper(),
        product=price.nickname if product else None,
        problem=problem,
    )


def _cost(price: Price) -> str:
    each = price.amount(1)
    every = "" if price.interval is None else f" a {price.interval}"
    if price.interval is not None and (price.interval_count or 1) > 1:
        every = f" every {price.interval_count} {price.interval}s"
    return ("By tiers" if each is None else money.format(each, _LOCALE)) + every


def _unfit(price: Price) -> str | None:
    """Why nobody can be moved to it; None where it can be offered."""
    if not price.active:
        return "which is archived in Stripe"
    if price.interval is None:
        return "which is paid once"
    return "which is billed by usage" if price.usage_type == "metered" else None


def _gone(id: str) -> Choice:
    return Choice(id=id, name=id, terms="not known", problem="Your Stripe account does not have it, so it is not offered")


def _prices(session: Session, connection_id: str, picked: Sequence[str]) -> list[Price]:
    """The active recurring ones, and those picked whatever they are."""
    place = Row.connection_id == connection_id, Row.is_deleted.is_(False)
    live = select(Row.raw).where(*place, Row.is_active, Row.interval.is_not(None)).order_by(Row.product, Row.unit_amount, Row.id)
    found = list(session.execute(live.limit(_READ)).scalars())
    found += session.execute(select(Row.raw).where(*place, Row.id.in_(list(picked)))).scalars() if picked else []
    return list({one.id: one for one in map(objects.read_price, found)}.values())


def _products(session: Session, connection_id: str | None, ids: set[str]) -> dict[str, str]:
    if connection_id is None or not ids:
        return {}
    found = select(Product.id, Product.name).where(Product.connection_id == connection_id, Product.id.in_(sorted(ids)))
    return {line.id: line.name for line in session.execute(found)}
