"""The forms of offers, one for each kind: its own fields, and the part of the document that they come to."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from wtforms import BooleanField, RadioField, SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import ValidationError

from connect_app.admin.offer_forms import entries
from connect_app.admin.offer_forms.offer import OfferForm
from connect_app.models.base import Json
from flow_pages import wording
from flow_pages.document import Offer
from jobs.outbound import pass_through

_INTERVALS = (("day", "days"), ("week", "weeks"), ("month", "months"))


class DiscountForm(OfferForm):
    """`how` is `coupon`, one of the account's for this mode, or `mint`."""

    kind = "discount"
    how = RadioField("Coupon", choices=[SelectChoice("coupon", "One of your coupons"), SelectChoice("mint", "One made for each customer")])
    coupon = StringField("Coupons")
    percent_off = entries.line("Percent off")
    amounts = entries.PairsField("Or an amount off", description="For each currency; who pays in another one is not made the offer.")
    duration = RadioField(
        "For how long",
        choices=[SelectChoice("once", "The next bill"), SelectChoice("repeating", "Some months"), SelectChoice("forever", "Forever")],
    )
    months = entries.line("Months")

    @classmethod
    def blank(cls) -> dict[str, Any]:
        return {"how": "coupon", "coupon": "", "duration": "once"}

    @classmethod
    def terms_of(cls, offer: Any, mode: str) -> dict[str, Any]:
        mint = offer.mint
        return {
            "how": "coupon" if mint is None else "mint",
            "coupon": offer.coupons.of(mode) or "",
            "percent_off": f"{mint.percent_off.normalize():f}" if mint and mint.percent_off is not None else "",
            "amounts": entries.amounts(mint.amounts) if mint else [],
            "duration": mint.duration if mint else "once",
            "months": entries.text(mint.months) if mint else "",
        }

    def terms(self, present: Any, mode: str) -> Json:
        coupons = {**(present.coupons.model_dump() if present else {}), mode: self.coupon.data or None}
        if self.how.data != "mint":
            return {"coupons": coupons}
        is_months = self.duration.data == "repeating"
        if is_months and not self.months.data:
            self.note("months", "Say for how many months.")
        amounts, percent = self.minor_units(self.amounts, is_charged=True), self.percent_off.data.removesuffix("%").strip()
        if self.amounts.errors:
            # What is wrong has been said; of the whole nothing can be said before that is right.
            return {"coupons": coupons}
        if not percent and not amounts:
            self.note("percent_off", "Write a percentage, or an amount for at least one currency.")
        elif percent and amounts:
            self.note("percent_off", "Write a percentage or amounts, and not both.")
        mint = {
            "percent_off": percent or None,
            "amounts": amounts,
            "duration": self.duration.data,
            "months": entries.number(self.months.data) if is_months else None,
        }
        return {"coupons": coupons, "mint": mint}

    def home(self, path: Sequence[str]) -> str:
        return {"coupons": "coupon", "mint": "percent_off"}.get(path[0] if path else "") or super().home(path)


class PauseForm(OfferForm):
    """`least` and `most` are both said or both empty."""

    kind = "pause"
    count = entries.line("Length")
    interval = SelectField("Counted in", choices=[SelectChoice(*one) for one in _INTERVALS])
    least = entries.line("At least")
    most = entries.line("At most")

    @classmethod
    def blank(cls) -> dict[str, Any]:
        return {"count": "1", "interval": "month"}

    @classmethod
    def terms_of(cls, offer: Any, _mode: str) -> dict[str, Any]:
        return {
            "count": entries.text(offer.count),
            "interval": offer.interval,
            "least": entries.text(offer.least),
            "most": entries.text(offer.most),
        }

    def terms(self, _present: Offer | None, _mode: str) -> Json:
        return {
            "count": entries.number(self.count.data),
            "interval": self.interval.data,
            "least": entries.number(self.least.data),
            "most": entries.number(self.most.data),
        }

    def home(self, path: Sequence[str]) -> str:
        return super().home(path) if path else "count"


class ExtensionForm(OfferForm):
    kind = "extension"
    count = entries.line("Length")
    interval = SelectField("Counted in", choices=[SelectChoice(*one) for one in _INTERVALS])

    @classmethod
    def blank(cls) -> dict[str, Any]:
        return {"count": "1", "interval": "month"}

    @classmethod
    def terms_of(cls, offer: Any, _mode: str) -> dict[str, Any]:
        return {"count": entries.text(offer.count), "interval": offer.interval}

    def terms(self, _present: Offer | None, _mode: str) -> Json:
        return {"count": entries.number(self.count.data), "interval": self.interval.data}


class TrialForm(OfferForm):
    kind = "trial_extension"
    days = entries.line("More days of trial")

    @classmethod
    def blank(cls) -> dict[str, Any]:
        return {"days": "14"}

    @classmethod
    def terms_of(cls, offer: Any, _mode: str) -> dict[str, Any]:
        return {"days": entries.text(offer.days)}

    def terms(self, _present: Offer | None, _mode: str) -> Json:
        return {"days": entries.number(self.days.data)}


class PlanForm(OfferForm):
    """`prices` are the picked ones of this mode, in the order in which customers see them."""

    kind = "plan_change"
    prices = entries.PicksField("Prices")
    when = RadioField("When it changes", choices=[SelectChoice("period_end", "From the next period on"), SelectChoice("now", "At once")])
    proration = SelectField(
        "If at once, what is left of the present period",
        choices=[
            SelectChoice("none", "Nothing is credited or charged for it"),
            SelectChoice("create_prorations", "Is settled with the next bill"),
            SelectChoice("always_invoice", "Is settled at once, with a bill of its own"),
        ],
    )

    @classmethod
    def blank(cls) -> dict[str, Any]:
        return {"prices": [], "when": "period_end", "proration": "none"}

    @classmethod
    def terms_of(cls, offer: Any, mode: str) -> dict[str, Any]:
        return {"prices": list(offer.prices.of(mode)), "when": offer.when, "proration": offer.proration}

    def terms(self, present: Any, mode: str) -> Json:
        picked = {**(present.prices.model_dump(mode="json") if present else {}), mode: self.prices.data or []}
        return {"prices": picked, "when": self.when.data, "proration": self.proration.data}

    def raise_up(self, price: str) -> None:
        """Move a picked price one place up."""
        picked = list(self.prices.data or [])
        if price in picked[1:]:
            place = picked.index(price)
            picked[place - 1 : place + 1] = [price, picked[place - 1]]
        self.prices.data = picked


class LinkForm(OfferForm):
    kind = "link"
    has_budget = False
    cooldown_days = entries.line("Cooldown, in days", description="So long after the customer followed this link.")
    lifetime = entries.line("Times in a lifetime", description="How often one customer can follow it; once for each visit to the flow.")
    url = entries.line(
        "Address",
        description=("Begins with https:// or mailto:. Variables such as {{ customer_id }} may stand in path and query."),
    )
    is_signed = BooleanField(
        "Sign it, so that your page knows who comes",
        description=Markup('With the embed secret. <a href="/docs/outbound#link-offers">How your page checks it</a>'),
    )

    @classmethod
    def terms_of(cls, offer: Any, _mode: str) -> dict[str, Any]:
        return {"url": offer.url, "is_signed": offer.is_signed}

    def terms(self, _present: Offer | None, _mode: str) -> Json:
        return {"url": self.url.data, "is_signed": self.is_signed.data}

    def validate_url(self, field: Any) -> None:
        try:
            named = pass_through.named(field.data)
        except pass_through.Wrong as wrong:
            raise ValidationError(str(wrong)) from wrong
        known = {*self.types, *pass_through.OF_SESSION}
        if problem := wording.unknown(" ".join(f"{{{{ {name} }}}}" for name in named), known):
            raise ValidationError(entries.sentence(problem))


class CustomForm(OfferForm):
    kind = "custom"
    has_budget = False
    payload = entries.PairsField(
        "What your system is told",
        description="Names of small letters, digits and _. Values go out as they are written: variables are not filled in.",
    )

    @classmethod
    def terms_of(cls, offer: Any, _mode: str) -> dict[str, Any]:
        return {"payload": list(offer.payload.items())}

    def terms(self, _present: Offer | None, _mode: str) -> Json:
        names = [name for name, _ in self.payload.filled]
        if len(set(names)) < len(names):
            self.note("payload", "A name stands there twice.")
        return {"payload": dict(self.payload.filled)}


FORMS: Mapping[str, type[OfferForm]] = {
    form.kind: form for form in (DiscountForm, PauseForm, ExtensionForm, TrialForm, PlanForm, LinkForm, CustomForm)
}
