"""A coupon made for one customer."""

from datetime import datetime
from decimal import Decimal

from connect_app.money import Money
from connect_app.stripe_gateway.calls.call import Call, mark


def mint(
    coupon_id: str,
    *,
    name: str,
    percent_off: Decimal | None,
    amount_off: Money | None,
    duration: str,
    duration_in_months: int | None,
    redeem_by: datetime,
    action_id: str,
) -> Call:
    """A coupon under an id of ours that can be redeemed once, and soon. `name` is what the customer's bill says, 40 characters at most."""
    params: dict[str, object] = {
        "id": coupon_id,
        "name": name[:40],
        "duration": duration,
        "max_redemptions": 1,
        "redeem_by": int(redeem_by.timestamp()),
        **mark(action_id),
    }
    if percent_off is not None:
        params["percent_off"] = float(percent_off)
    if amount_off is not None:
        params |= {"amount_off": amount_off.amount, "currency": amount_off.currency}
    if duration == "repeating":
        params["duration_in_months"] = duration_in_months
    return Call(method="coupons.create", target=coupon_id, params=params)
