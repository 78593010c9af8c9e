"""The form that all kinds of offers have in common: copy, placement, audience, dates, limits, and who changes Stripe."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask_wtf import FlaskForm
from pydantic import ValidationError as Refused
from wtforms import BooleanField, RadioField, SelectField, SelectMultipleField, TextAreaField
from wtforms.fields import SelectChoice
from wtforms.validators import ValidationError

from connect_app import money
from connect_app.admin import offers
from connect_app.admin.offer_forms import entries
from connect_app.models.base import Json
from connect_app.money import Money
from flow_pages import wording
from flow_pages.document import USUAL_LIMITS, Limits, Offer, Reason
from webhooks import catalogue

LONGEST_NAME = 100
_WHERE = (("opening", "Before the survey"), ("reasons", "After these reasons"), ("closing", "After any reason"))


class OfferForm(FlaskForm):  # type: ignore[misc]
    """What all kinds have. `types` are the variables that its copy may name, with their types."""

    kind = ""
    # What has no price has no budget.
    has_budget = True
    types: Mapping[str, catalogue.Type] = {}

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        # What the account does not have, by the field it was picked in.
        self.refused: dict[str, str] = {}

    name = entries.line("Name", description="For you alone: customers do not see it.")
    headline = entries.line("Headline")
    body = TextAreaField("Text", filters=[entries.stripped])
    accept = entries.line("Button that accepts")
    decline = entries.line("Button that declines", description="Shown with the same weight as the other button.")
    image = entries.line("Image", description="An address that begins with https://.")
    image_alt = entries.line("What the image shows", description="Read to those who cannot see it.")
    where = RadioField("When it is made", choices=[SelectChoice(*one) for one in _WHERE])
    reasons = SelectMultipleField("Reasons", validate_choice=False)
    audience = SelectField("Audience")
    starts_on = entries.line("First day", description="In UTC.")
    ends_on = entries.line("Last day", description="Included, in UTC.")
    cooldown_days = entries.line("Cooldown, in days", description="So long after the customer took an offer of this kind.")
    lifetime = entries.line("Times in a lifetime", description="How often one customer can take this offer.")
    not_if_discounted = BooleanField("Not to those who have a discount already")
    monthly_budget = entries.PairsField(
        "Budget a month",
        description=(
            "What acceptances may take off next bills in a calendar month (UTC), for each currency. Without an amount there is no budget."
        ),
    )
    by = RadioField(
        "Who changes Stripe",
        choices=[SelectChoice("holdfast", "Holdfast"), SelectChoice("business", "Our own system does it")],
        description="With your own system, Holdfast tells it by webhook and waits until Stripe shows the change.",
    )

    def lay(
        self,
        *,
        reasons: Sequence[Reason],
        audiences: Sequence[tuple[str, str]],
        types: Mapping[str, catalogue.Type],
        present: Offer | None,
    ) -> None:
        """What can be chosen on this page. An audience that the present offer is for and that is gone stays until another is chosen."""
        self.types = types
        self.reasons.choices = [SelectChoice(one.id, one.label) for one in reasons]
        self.audience.choices = [SelectChoice("", "Everybody"), *(SelectChoice(id, name) for id, name in audiences)]
        if present and present.audience and present.audience not in dict(audiences):
            self.audience.choices.append(SelectChoice(present.audience, "An audience that is gone: it is made to nobody"))

    @classmethod
    def of(cls, kept: offers.Kept | None, mode: str) -> "OfferForm":
        """The form as it stands before anything is typed; without an offer, as a new one of its kind begins."""
        if kept is None:
            kind = offers.KINDS[cls.kind]
            usual = USUAL_LIMITS.get(cls.kind, Limits())
            often = {"cooldown_days": entries.text(usual.cooldown_days), "lifetime": entries.text(usual.lifetime)}
            first = {"headline": kind.headline, "accept": kind.accept, "decline": kind.decline, **often}
            fresh: OfferForm = cls(formdata=None, data={"name": kind.title, "where": "closing", "by": "holdfast", **first, **cls.blank()})
            return fresh
        offer, limits = kept.offer, kept.offer.limits
        values = {
            "name": kept.name,
            **{name: getattr(offer, name) for name in ("headline", "body", "accept", "decline", "image_alt", "by")},
            "image": offer.image or "",
            "where": kept.placement.where,
            "reasons": list(kept.placement.reasons),
            "audience": offer.audience or "",
            "starts_on": offer.starts_on.isoformat() if offer.starts_on else "",
            "ends_on": offer.ends_on.isoformat() if offer.ends_on else "",
            "cooldown_days": entries.text(limits.cooldown_days),
            "lifetime": entries.text(limits.lifetime),
            "not_if_discounted": limits.not_if_discounted,
            "monthly_budget": entries.amounts(limits.monthly_budget),
            **cls.terms_of(offer, mode),
        }
        filled: OfferForm = cls(formdata=None, data=values)
        return filled

    @classmethod
    def blank(cls) -> dict[str, Any]:
        """The kind's own fields of a new offer."""
        return {}

    @classmethod
    def terms_of(cls, _offer: Any, _mode: str) -> dict[str, Any]:
        """The kind's own fields of an offer there is."""
        return {}

    def terms(self, _present: Offer | None, _mode: str) -> Json:
        """The kind's own part of the document, from what was typed; what is wrong is noted beside its field."""
        return {}

    def read(self, present: Offer | None, mode: str) -> tuple[Offer, offers.Placement] | None:
        """The offer that was typed, in place of `present`; None where something is wrong, which then stands beside its field."""
        is_sent = self.validate()
        document = {
            "id": present.id if present else "new",
            "kind": self.kind,
            **{name: getattr(self, name).data for name in ("headline", "body", "accept", "decline", "image_alt", "by")},
            "image": self.image.data or None,
            "audience": self.audience.data or None,
            "starts_on": self.starts_on.data or None,
            "ends_on": self.ends_on.data or None,
            "limits": {
                "cooldown_days": entries.number(self.cooldown_days.data),
                "lifetime": entries.number(self.lifetime.data),
                "not_if_discounted": self.not_if_discounted.data,
                "monthly_budget": self.minor_units(self.monthly_budget) if self.has_budget else {},
            },
            **self.terms(present, mode),
        }
        offer = None
        try:
            offer = offers.read(document, is_new=True)
        except Refused as refused:
            for problem in refused.errors(include_url=False):
                self._note(problem)
        known = [choice.value for choice in self.reasons.choices]
        chosen = [one for one in self.reasons.data or () if one in known] if self.where.data == "reasons" else []
        if self.where.data == "reasons" and not chosen:
            self.note("reasons", "Tick at least one reason, or make the offer elsewhere.")
        for field, message in self.refused.items():
            self.note(field, message)
        if not is_sent or self.errors or offer is None:
            return None
        return offer, offers.Placement(where=self.where.data, reasons=tuple(chosen))

    def note(self, field: str, message: str) -> None:
        """Say what is wrong beside a field, once."""
        there = self[field]
        if message not in there.errors:
            there.errors = [*there.errors, message]
        # WTForms keeps what `errors` gave once.
        self._errors = None

    def validate_name(self, field: Any) -> None:
        if not field.data or len(field.data) > LONGEST_NAME:
            raise ValidationError(f"Write a name of at most {LONGEST_NAME} characters.")

    def validate_ends_on(self, field: Any) -> None:
        # The document says so as well, but only where all else is right in it.
        first, last = (entries.day(one.data) for one in (self.starts_on, field))
        if first and last and last < first:
            raise ValidationError("The last day is before the first one.")

    def _copy(self, field: Any) -> None:
        text = field.data or ""
        if problem := wording.problem(text, self.types) or wording.unknown(text, self.types):
            raise ValidationError(entries.sentence(problem))

    validate_headline = validate_body = validate_accept = validate_decline = validate_image_alt = _copy

    def minor_units(self, field: entries.PairsField, *, is_charged: bool = False) -> dict[str, int]:
        """Amounts by currency; those that are none are noted, and where they come off bills, those that Stripe charges in larger steps."""
        found: dict[str, int] = {}
        for code, typed in field.filled:
            currency = code.lower()
            amount = entries.minor(typed, currency)
            if not money.is_in_use(currency):
                self.note(field.short_name, f"{code} {typed}: write a currency by its three letters, such as EUR.".lstrip())
            elif amount is None:
                self.note(field.short_name, f"{code} {typed}: write an amount such as {entries.example(currency)}.")
            elif is_charged and amount % money.step(currency):
                step = Money(money.step(currency), currency).decimal
                self.note(field.short_name, f"{code} {typed}: Stripe charges {code.upper()} in steps of {step.normalize():f}.")
            elif currency in found:
                self.note(field.short_name, f"{code.upper()} stands there twice.")
            else:
                found[currency] = amount
        return found

    def _note(self, problem: Any) -> None:
        path = [str(part) for part in problem["loc"][1:]]
        named = [part for part in path if part in self._fields]
        # The one rule about an offer as a whole that all kinds have is about its days.
        is_about_days = not path and "last day" in str(problem["msg"])
        field = named[-1] if named else "ends_on" if is_about_days else self.home(path)
        if not self[field].errors:
            self.note(field, entries.told(problem, field))

    def home(self, _path: Sequence[str]) -> str:
        """The field that stands for a part of the document that has none of its own name."""
        return "name"
