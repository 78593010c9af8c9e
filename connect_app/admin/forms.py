"""The dashboard's forms: what may be typed, and what is wrong with it otherwise."""

import re
from typing import Any

from flask import request
from flask_wtf import FlaskForm
from wtforms import BooleanField, IntegerField, RadioField, SelectField, StringField, TextAreaField
from wtforms.fields import SelectChoice
from wtforms.validators import DataRequired, Length, NumberRange, Optional, ValidationError

from connect_app.admin import mappings
from flow_pages import links
from webhooks import catalogue, mapping

_MOST_ORIGINS = 20


class SetupForm(FlaskForm):  # type: ignore[misc]  # WTForms has no types
    plain_cancel_only = BooleanField(
        "Plain cancel only",
        description="Everybody gets the plain cancel page: no survey, no offers. Cancels are still made on Stripe and read back.",
    )
    enrichment = BooleanField(
        "Enrichment",
        description=(
            "Stripe’s fields fill in your copy and audiences. Switched off, everybody gets the plain cancel page and the fallbacks of your "
            "fields; what the hand-off itself says still counts."
        ),
    )
    attribution = BooleanField(
        "Attribution",
        description=(
            "Every save is checked with Stripe: when it happens, and again at the end of the save interval, with its revenue. "
            "Switched off, outcomes are not validated and no revenue is shown."
        ),
    )
    save_interval_days = IntegerField(
        "Save interval, in days",
        [Optional(), NumberRange(1, 365, "From 1 to 365 days.")],
        description="So long somebody has to stay and pay to count as saved. Those already on watch keep the interval they began with.",
    )
    manage_offers = BooleanField(
        "Manage offers",
        description=(
            "Holdfast makes the change on Stripe when a customer accepts an offer. Switched off, your own system does it: webhook and "
            "pass-through URL carry what was accepted, and it shows as done once Stripe tells of it."
        ),
    )
    manage_cancels = BooleanField(
        "Manage cancels",
        description=(
            "Holdfast cancels on Stripe when a customer confirms. Switched off, your own system does it, told in the same way with the "
            "options below."
        ),
    )
    portal_code = BooleanField(
        "A code for older portal links",
        description=(
            "A link to the portal that is more than a day old asks for a code by email before it cancels or pauses anything. Customers "
            "for whom Stripe has no address are not asked."
        ),
    )
    cancel_when = RadioField(
        "When does it end?", choices=[SelectChoice("period_end", "At the end of the period"), SelectChoice("now", "Now")]
    )
    cancel_scope = RadioField(
        "Which subscriptions?",
        choices=[SelectChoice("this", "This subscription"), SelectChoice("all", "All active subscriptions of the customer")],
    )
    cancel_open_invoices = RadioField(
        "Past due and open invoices", choices=[SelectChoice("keep", "Keep collecting"), SelectChoice("void", "Void")]
    )
    cancel_invoice_now = BooleanField(
        "Invoice immediately for all outstanding charges",
        description="Usage and charges not billed yet go on a last invoice, made at once. Otherwise they are not billed.",
    )
    cancel_prorate = BooleanField(
        "Prorate",
        description=(
            "What was paid for and not used is credited: on that last invoice, or without one to the customer’s next. "
            "Otherwise it is not paid back."
        ),
    )
    stripe_sign_in = BooleanField(
        "Sign in with Stripe",
        description=(
            "Whoever can authorize us on your Stripe account may enter as an owner. "
            "Once switched off, this counts from when an owner has confirmed an email address."
        ),
    )


class DisplayForm(FlaskForm):  # type: ignore[misc]
    display = RadioField("How should it open?", choices=[SelectChoice("redirect", "Redirect"), SelectChoice("modal", "Modal")])


def _address(_form: FlaskForm, field: Any) -> None:
    if field.data and links.origin_of(field.data) is None:
        raise ValidationError("Write a whole address, such as https://app.example.com/account.")


class SiteForm(FlaskForm):  # type: ignore[misc]
    """Origins, one a line; the return addresses must lie on one of them."""

    allowed_origins = TextAreaField("Allowed origins")
    return_url = StringField("After staying", [Length(max=2000), _address], filters=[lambda text: (text or "").strip()])
    cancel_url = StringField("After canceling", [Length(max=2000), _address], filters=[lambda text: (text or "").strip()])

    @property
    def origins(self) -> tuple[str, ...]:
        """The lines as origins in their one spelling, each once, in order; unreadable lines are left out."""
        lines = (self.allowed_origins.data or "").split()
        return tuple(dict.fromkeys(origin for line in lines if (origin := origin_in(line)) is not None))

    def validate_allowed_origins(self, field: Any) -> None:
        lines = (field.data or "").split()
        if len(lines) > _MOST_ORIGINS:
            raise ValidationError(f"At most {_MOST_ORIGINS} origins.")
        if wrong := [line[:200] for line in lines if origin_in(line) is None]:
            raise ValidationError(f"Not an origin: {', '.join(wrong)}. Write scheme and host, such as https://app.example.com.")

    def validate_return_url(self, field: Any) -> None:
        self._on_the_list(field)

    def validate_cancel_url(self, field: Any) -> None:
        self._on_the_list(field)

    def _on_the_list(self, field: Any) -> None:
        if field.data and links.origin_of(field.data) is not None and not links.is_listed(field.data, self.origins):
            raise ValidationError(f"{links.origin_of(field.data)} is not among the allowed origins above.")


def origin_in(line: str) -> str | None:
    """The origin a line names; None where it names more than an origin, or none."""
    origin = links.origin_of(line)
    if origin is None:
        return None
    rest = line.split("://", 1)[1]
    return None if re.search(r"[/?#]", rest.removesuffix("/")) else origin


def _stripped(text: str | None) -> str:
    return (text or "").strip()


class MappingForm(FlaskForm):  # type: ignore[misc]
    """A variable: its name, type, source and fallback."""

    name = StringField("Name", filters=[_stripped])
    type = SelectField("Data type", choices=[SelectChoice(type, label) for type, label in mappings.TYPES.items()])
    source = StringField("Source", [DataRequired("Say where it comes from."), Length(max=1000)], filters=[_stripped])
    fallback = StringField("Fallback", [Length(max=500, message="At most 500 characters.")], filters=[_stripped])

    def picked(self) -> str:
        """The source that one of the list's buttons was pressed for, taken over with its own type; empty where none was."""
        path = str(request.form.get("pick", ""))
        if path:
            self.source.data = path
            known = catalogue.FIELDS.get(path)
            self.type.data = known.type if known else request.form.get("type", "text")
        return path

    def mapping(self) -> mapping.Mapping:
        """What was typed, whole or not."""
        name, source = self.name.data or "field", self.source.data or ""
        return mapping.Mapping(name=name, type=mapping.type_named(self.type.data), source=source, fallback=self.fallback.data or None)

    def validate_name(self, field: Any) -> None:
        if problem := mappings.problem_with_name(field.data or ""):
            raise ValidationError(problem)
