"""The coupons of the connected account as the owner picks one, read from the mirror."""

import re
from dataclasses import dataclass

from sqlalchemy.orm import Session

from connect_app.stripe_gateway.objects import Coupon
from flow_pages.offers import duration, saving
from flow_pages.offers.terms import of_coupon
from webhooks import mirror

_LOCALE = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A coupon that can be offered, in words such as `25% off for 3 months`."""

    id: str
    name: str
    terms: str

    @property
    def label(self) -> str:
        """Name and terms, once where the name says it already."""
        return self.name if self.terms.lower() in self.name.lower() else f"{self.name}: {self.terms}"


def choices(session: Session, connection_id: str | None) -> list[Choice]:
    """The account's valid coupons."""
    if connection_id is None:
        return []
    return [
        Choice(id=coupon.id, name=coupon.name or coupon.id, terms=terms(coupon))
        for coupon in mirror.coupons(session, connection_id)
        # An id with other characters could not stand in a flow's document.
        if coupon.valid and not coupon.is_deleted and re.fullmatch(r"[A-Za-z0-9_-]{1,200}", coupon.id)
    ]


def is_offered(session: Session, connection_id: str | None, coupon_id: str) -> bool:
    """Whether the account has this coupon and Stripe still accepts it."""
    coupon = mirror.coupon(session, connection_id, coupon_id) if connection_id else None
    return coupon is not None and coupon.valid and not coupon.is_deleted


def terms(coupon: Coupon) -> str:
    """What the coupon comes to, in words."""
    lasts = {"forever": "forever", "once": "on the next bill"}.get(coupon.duration)
    discount = of_coupon(coupon)
    return f"{saving(discount, _LOCALE)} off " + (lasts or f"for {duration(discount)}")
