"""A wish about one subscription, and the situation it meets: what has to be looked at before it can be planned or proven."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from connect_app.stripe_gateway.objects import Coupon, Discount, Invoice, Price, Schedule, Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one action is to bring about: its verb and frozen intent, and whose subscription in which mode it may touch.

    What an intent holds, by verb. `discount`: `coupon`, or `mint` (see `discounts`), and `not_if_discounted`. `pause`, `extension`:
    `resumes_at`. `trial_extension`: `trial_end`. `plan_change`: `price`, `when` (`now` or `period_end`), `proration`. `cancel`: `feedback`,
    `comment`, `when`, `invoice_now`, `prorate`, `open_invoices` (`keep` or `void`). `item_cancel`: the same but for `open_invoices`, and
    `item`, `name` (as the customer read it). `undo_cancel`: `item`, `name` and `by` (the action) where one item was. `payment_method`:
    `payment_method`. Times are ISO 8601. Any may have `renews_at`: the day of the next bill, as the customer was shown it.
    """

    action_id: str
    verb: str
    intent: Mapping[str, object]
    customer: str
    subscription: str
    mode: str

    def text(self, name: str) -> str | None:
        """A word of the intent."""
        value = self.intent.get(name)
        return None if value is None else str(value)

    def moment(self, name: str) -> datetime | None:
        """A time of the intent."""
        value = self.text(name)
        return None if value is None else datetime.fromisoformat(value)

    def flag(self, name: str) -> bool:
        """A yes or no of the intent; no where it does not say."""
        return self.intent.get(name) is True


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What to read besides the subscription: ids, and whether the customer's own discount and their open invoices matter."""

    customer: bool = False
    coupon: str | None = None
    price: str | None = None
    schedule: str | None = None
    open_invoices: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known when a wish is looked at.

    `coupon` and `price` are what Stripe has under the wish's ids, None when it has nothing. `schedule` is the one that leads the
    subscription; None with `subscription.schedule` set means that it was not read: the mirror knows only that there is one.
    `open_invoices` are the customer's, of whichever subscription. `customers_discount` counts where the subscription, or a phase to come,
    has none of its own.
    """

    subscription: Subscription
    coupon: Coupon | None = None
    price: Price | None = None
    schedule: Schedule | None = None
    open_invoices: tuple[Invoice, ...] = ()
    customers_discount: Discount | None = None
