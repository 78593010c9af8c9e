"""The dashboard's forms: what may be typed, and what is wrong with it otherwise."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from flask import request
from flask_wtf import FlaskForm
from wtforms import BooleanField, IntegerField, RadioField, SelectField, StringField, TextAreaField
from wtforms.fields import SelectChoice
from wtforms.validators import DataRequired, Length, NumberRange, Optional, ValidationError

from connect_app.admin import mappings
from connect_app.preferences import Preferences
from flow_pages import cancels, links
from flow_pages.document import CancelOptions, Flow, Whose
from webhooks import catalogue, mapping

_MOST_ORIGINS = 20


# What a confirmed cancel does, in words.
_WHEN = {"period_end": "At the end of the period", "now": "Now"}
_SCOPE = {"this": "This subscription", "all": "All active subscriptions of the customer"}
_OPEN_INVOICES = {"keep": "Keep collecting", "void": "Void"}
_BY = {"setup": "As in Settings → Setup", "holdfast": "Holdfast", "business": "Our own system does it"}


def _choices(words: Mapping[str, str]) -> list[SelectChoice]:
    return [SelectChoice(value, label) for value, label in words.items()]


class CancelForm(FlaskForm):  # type: ignore[misc]  # WTForms has no types
    """What a confirmed cancel does, as the workspace or a flow has it."""

    cancel_when = RadioField("When does it end?", choices=_choices(_WHEN))
    cancel_scope = RadioField(
        "Which subscriptions?",
        choices=_choices(_SCOPE),
    )
    cancel_open_invoices = RadioField("Past due and open invoices", choices=_choices(_OPEN_INVOICES))
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

    cancel_single = BooleanField(
        "One of several items",
        description=(
            "Of a subscription with several items, customers may cancel one and keep the rest. "
            "What one item is nothing without can then be canceled alone, too."
        ),
    )

    @property
    def options(self) -> CancelOptions:
        """What was chosen."""
        return CancelOptions(
            when=self.cancel_when.data,
            scope=self.cancel_scope.data,
            invoice_now=self.cancel_invoice_now.data,
            prorate=self.cancel_prorate.data,
            open_invoices=self.cancel_open_invoices.data,
            single=self.cancel_single.data,
        )

    @staticmethod
    def of(options: CancelOptions) -> dict[str, Any]:
        """The fields' values for these options."""
        return {f"cancel_{name}": value for name, value in options.model_dump().items()}

    def _only_now(self, field: Any) -> None:
        if field.data and self.cancel_when.data != "now":
            raise ValidationError("This is for what ends now. Let it end now, or take this away.")

    validate_cancel_invoice_now = validate_cancel_prorate = _only_now


def told(options: CancelOptions) -> str:
    """These options in a line: `Now. This subscription. Past due and open invoices: keep collecting. Prorated.`"""
    parts = [_WHEN[options.when], _SCOPE[options.scope], f"Past due and open invoices: {_OPEN_INVOICES[options.open_invoices].lower()}"]
    if options.when == "now":
        parts += ["Invoiced immediately"] * options.invoice_now + ["Prorated"] * options.prorate
    parts += ["One of several items, too"] * options.single
    return ". ".join(parts) + "."


class FlowForm(CancelForm):
    """What a flow has of its own; its `cancel_…` count where `cancels` is `own`."""

    cancels = RadioField("Decided by", choices=_choices({"setup": "As in Settings → Setup", "own": "This flow’s own options"}))
    offers_by = RadioField("For offers", choices=_choices(_BY))
    cancels_by = RadioField("For cancels", choices=_choices(_BY))

    def _only_now(self, field: Any) -> None:
        if self.cancels.data == "own":
            super()._only_now(field)

    validate_cancel_invoice_now = validate_cancel_prorate = _only_now

    @classmethod
    def showing(cls, flow: Flow, settings: Preferences) -> "FlowForm":
        """The form as it stands before anything is chosen: options of its own would begin with those of the workspace."""
        begin = flow.cancel or cancels.of_workspace(settings)
        if begin.when != "now":
            begin = begin.model_copy(update={"invoice_now": False, "prorate": False})
        whose = {"offers_by": flow.offers_by or "setup", "cancels_by": flow.cancels_by or "setup"}
        shown: FlowForm = cls(formdata=None, data={"cancels": "own" if flow.cancel else "setup", **whose, **cls.of(begin)})
        return shown

    def whose(self, name: str) -> Whose | None:
        """Who changes Stripe; None where that is the workspace's to say."""
        picked: Whose | Literal["setup"] = self[name].data
        return None if picked == "setup" else picked

    @property
    def cancel(self) -> CancelOptions | None:
        """The flow's own options; None where it goes by the workspace's."""
        return self.options if self.cancels.data == "own" else None


class SetupForm(CancelForm):
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
