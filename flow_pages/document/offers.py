"""The offers that a flow can make: what each is worth, what it says, to whom and how often it is made, and who carries it out."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, model_validator

from connect_app import money
from connect_app.modes import Mode
from flow_pages.document.parts import Alt, Currency, Line, Name, Paragraph, Part, is_new
from jobs.outbound import pass_through

# No more prices than a customer can compare on a phone.
MOST_PRICES = 6
# More offer screens than these before the confirmation are an obstacle; what follows in a chain stands in for what does not fit.
MOST_SHOWN = 2

CouponId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]{1,200}$")]
PriceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,200}$")]
ImageUrl = Annotated[str, StringConstraints(pattern=r"^https://[A-Za-z0-9.\-]{1,200}(:[0-9]{1,5})?/[!-~]{1,1000}$")]
Minor = Annotated[int, Field(gt=0, le=10**12)]
# A year, in each interval: a pause of twelve months covers the one bill of a yearly plan, and a longer one is a cancellation.
LONGEST: Mapping[str, int] = {"day": 365, "week": 52, "month": 12}
Interval = Literal["day", "week", "month"]
Whose = Literal["holdfast", "business"]


def _within_a_year(count: int, info: ValidationInfo) -> int:
    interval = info.data.get("interval")
    if is_new(info) and interval and count > LONGEST[interval]:
        raise ValueError(f"at most {LONGEST[interval]} {interval}s: a year")
    return count


Length = Annotated[int, Field(ge=1, le=365), AfterValidator(_within_a_year)]


def _in_steps(amounts: dict[str, int], info: ValidationInfo) -> dict[str, int]:
    for currency, amount in amounts.items():
        if is_new(info) and amount % money.step(currency):
            raise ValueError(f"Stripe charges {currency.upper()} in multiples of {money.step(currency)} minor units, and {amount} is none")
    return amounts


def _as_it_is(told: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    if is_new(info) and any("{{" in value or "{%" in value for value in told.values()):
        raise ValueError("values go out as they are written, variables are not filled in")
    return told


def _address(text: str, info: ValidationInfo) -> str:
    try:
        if is_new(info):
            pass_through.named(text)
        if not text.startswith("mailto:"):
            pass_through.fill(text, {})
    except pass_through.Wrong as problem:
        raise ValueError(str(problem)) from problem
    return text


Address = Annotated[
    str, StringConstraints(pattern=r"^(https://[A-Za-z0-9.\-]+(:[0-9]{1,5})?([/?][!-~ ]*)?|mailto:[!-~]+@[!-~ ]+)$", max_length=2000),
    AfterValidator(_address),
]  # fmt: skip


class Coupons(Part):
    """The account's existing coupon in each mode; None: nothing to offer there yet."""

    test: CouponId | None = None
    live: CouponId | None = None

    def of(self, mode: str) -> str | None:
        return self.test if Mode(mode) is Mode.TEST else self.live


class Prices(Part):
    """The account's prices in each mode, in the order in which they are shown; the customer picks one."""

    test: tuple[PriceId, ...] = Field(default=(), max_length=MOST_PRICES)
    live: tuple[PriceId, ...] = Field(default=(), max_length=MOST_PRICES)

    def of(self, mode: str) -> tuple[str, ...]:
        return self.test if Mode(mode) is Mode.TEST else self.live


class Minted(Part):
    """A coupon that is made for each customer who accepts: a percentage, or an amount per currency in minor units."""

    percent_off: Decimal | None = Field(default=None, gt=0, le=100, decimal_places=2)
    amounts: Annotated[dict[Currency, Minor], AfterValidator(_in_steps)] = Field(default={}, max_length=50)
    duration: Literal["once", "repeating", "forever"]
    months: int | None = Field(default=None, ge=1, le=36)

    @model_validator(mode="after")
    def _whole(self) -> "Minted":
        if (self.percent_off is None) == (not self.amounts):
            raise ValueError("say a percentage or amounts, and not both")
        if (self.duration == "repeating") != (self.months is not None):
            raise ValueError("a number of months belongs to a repeating discount, and to no other")
        return self


class Limits(Part):
    """How often an offer is made. The customer is counted by what they accepted, the business's budget by what that takes off next bills.

    `cooldown_days`: so long after an offer of the same kind, after this very one where it is a link. `lifetime`: so often this offer.
    `monthly_budget`: minor units per currency for each calendar month in UTC; an offer in a currency without an amount has no budget.
    """

    cooldown_days: int | None = Field(default=None, ge=1, le=3650)
    lifetime: int | None = Field(default=None, ge=1, le=1000)
    not_if_discounted: bool = False
    monthly_budget: dict[Currency, Minor] = Field(default={}, max_length=50)


# What a new offer begins with where nobody says anything: who comes back each month gets what costs money once. The owner can lift it.
USUAL_LIMITS: Mapping[str, Limits] = {
    **dict.fromkeys(("discount", "extension", "trial_extension"), Limits(cooldown_days=365, lifetime=1)),
    "pause": Limits(cooldown_days=180),
}


class _Offer(Part):
    """What all kinds have. Accept and decline have the same weight on the page, whatever they say.

    `audience` is the id of the one it is for, None for everybody. `starts_on` and `ends_on` are whole days in UTC, both included. `by` says
    who changes Stripe: with `business`, Holdfast only asks for it.
    """

    id: Name
    headline: Line
    body: Paragraph = ""
    accept: Line
    decline: Line
    image: ImageUrl | None = None
    image_alt: Alt = ""
    audience: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    limits: Limits = Limits()
    by: Whose = "holdfast"

    @model_validator(mode="after")
    def _in_order(self) -> "_Offer":
        if self.starts_on and self.ends_on and self.ends_on < self.starts_on:
            raise ValueError("the last day is before the first one")
        return self


class DiscountOffer(_Offer):
    """A coupon for staying: one that the account has, or one made for the customer where `mint` says so."""

    kind: Literal["discount"] = "discount"
    coupons: Coupons = Coupons()
    mint: Minted | None = None


class PauseOffer(_Offer):
    """No service and no bills for `count` times `interval`; the customer may choose from `least` to `most` of them where these are said."""

    kind: Literal["pause"] = "pause"
    interval: Interval
    count: Length
    least: Length | None = None
    most: Length | None = None

    @model_validator(mode="after")
    def _bounds(self) -> "PauseOffer":
        if (self.least is None) != (self.most is None):
            raise ValueError("say both bounds, or none")
        if self.least is not None and self.most is not None and not self.least <= self.count <= self.most:
            raise ValueError("the length is outside its bounds")
        if self.most is not None and self.least is not None and self.most - self.least > 11:
            raise ValueError("that is more than twelve lengths to choose from")
        return self


class ExtensionOffer(_Offer):
    """Service for free: no bill is collected for `count` times `interval`."""

    kind: Literal["extension"] = "extension"
    interval: Interval
    count: Length


class TrialOffer(_Offer):
    """A trial that runs so many days longer."""

    kind: Literal["trial_extension"] = "trial_extension"
    days: int = Field(ge=1, le=365)


class PlanOffer(_Offer):
    """Another price for as many as the customer has, now or from the next period on."""

    kind: Literal["plan_change"] = "plan_change"
    prices: Prices = Prices()
    when: Literal["now", "period_end"] = "period_end"
    proration: Literal["none", "create_prorations", "always_invoice"] = "none"


class LinkOffer(_Offer):
    """A page or a mail of the business's: a `mailto:` or https address, with variables in path and query, signed where that is wanted."""

    kind: Literal["link"] = "link"
    url: Address
    is_signed: bool = False


class CustomOffer(_Offer):
    """Something that only the business can give: its webhook or pass-through URL is told, with this payload."""

    kind: Literal["custom"] = "custom"
    payload: Annotated[dict[Name, Line], AfterValidator(_as_it_is)] = Field(default={}, max_length=20)


Offer = Annotated[
    DiscountOffer | PauseOffer | ExtensionOffer | TrialOffer | PlanOffer | LinkOffer | CustomOffer, Field(discriminator="kind")
]
