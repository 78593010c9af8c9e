"""Fields of offers' forms, what was typed in them as a document has it, and what is wrong with it in words for the owner."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from wtforms import Field, StringField

from connect_app import money
from connect_app.money import Money

# Empty rows that are there to be filled in.
_SPARE = {"monthly_budget": 1, "amounts": 1, "payload": 3}
_WHOLE = re.compile("[0-9]{1,12}")

Pairs = list[tuple[str, str]]


def stripped(typed: str | None) -> str:
    """Without the spaces around it."""
    return (typed or "").strip()


class PairsField(Field):  # type: ignore[misc]  # WTForms has no types
    """Rows of two inputs that share the field's name: a currency and an amount, or a name and a value. A row of blanks is none."""

    data: Pairs

    def process_formdata(self, valuelist: list[str]) -> None:
        typed = [one.strip() for one in valuelist]
        self.data = list(zip(typed[::2], typed[1::2], strict=False))

    def _value(self) -> str:
        return ""

    @property
    def filled(self) -> Pairs:
        """What was typed, without the rows where nothing was."""
        return [pair for pair in self.data or () if pair[1] or (pair[0] and self.short_name == "payload")]

    def rows(self, known: Sequence[str] = ()) -> Pairs:
        """What the page shows: what there is, a row for each of the `known` ones that are not among it, and spare ones."""
        there = {name.lower() for name, _ in self.filled}
        return [*self.filled, *((name, "") for name in known if name.lower() not in there), *([("", "")] * _SPARE[self.short_name])]


class PicksField(Field):  # type: ignore[misc]
    """Ids in the order in which they stand on the page."""

    data: list[str]

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = list(dict.fromkeys(valuelist))

    def _value(self) -> str:
        return ""


def line(label: str, **more: Any) -> Any:
    """A field of one line."""
    return StringField(label, filters=[stripped], **more)


def number(typed: str | None) -> int | str | None:
    """A whole number where it is one; what else was typed is left for the document to refuse."""
    found = (typed or "").strip()
    return int(found) if _WHOLE.fullmatch(found) else found or None


def day(typed: str | None) -> date | None:
    """A day written as 2026-12-31; None for anything else."""
    try:
        return date.fromisoformat(typed or "")
    except ValueError:
        return None


def text(number: int | None) -> str:
    """What a field says for a number there is, or is not."""
    return "" if number is None else str(number)


def amounts(units: Mapping[str, int]) -> Pairs:
    """Minor units by currency as rows of a form."""
    return [(currency.upper(), f"{Money(amount, currency).decimal:f}") for currency, amount in sorted(units.items())]


def minor(typed: str, currency: str) -> int | None:
    """`12.50` in minor units; None for what is no amount of this currency, and for nothing."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", typed):
        return None
    amount = Decimal(typed).scaleb(money.exponent(currency))
    return int(amount) if amount == amount.to_integral_value() and amount > 0 else None


def example(currency: str) -> str:
    """An amount as this currency has it."""
    return {0: "1200", 3: "12.500"}.get(money.exponent(currency), "12.50")


# What a document's refusal is called beside its field; {limit} is the bound that was passed.
_SAYINGS = {
    "string_too_short": "Write something here.",
    "string_too_long": "At most {limit} characters.",
    "int_type": "Write a whole number.",
    "greater_than": "More than {limit}.",
    "greater_than_equal": "At least {limit}.",
    "less_than_equal": "At most {limit}.",
    "decimal_parsing": "Write a number, such as 25.",
    "decimal_type": "Write a number, such as 25.",
    "finite_number": "Write a number, such as 25.",
    "decimal_max_places": "At most two decimals.",
    "too_long": "At most {limit} of them.",
    "literal_error": "Choose one of these.",
}
_BOUNDS = ("max_length", "gt", "ge", "le")
_PATTERNS = {
    "image": "Write a whole address that begins with https://, such as https://cdn.example.com/stay.png.",
    "url": "Write a whole address that begins with https://, such as https://example.com/help, or mailto: and an address.",
    "payload": "Names have small letters, digits and _ only, up to 64 of them.",
    "coupon": "This is no coupon of your account.",
    "prices": "This is no price of your account.",
}


def told(problem: Any, field: str) -> str:
    """What pydantic found wrong, in words for the owner."""
    kind, context = str(problem["type"]), problem.get("ctx") or {}
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(field, "This cannot be read.")
    if kind == "value_error":
        return sentence(str(context.get("error", problem["msg"])))
    if kind.startswith("date"):
        return "Write a day, such as 2026-12-31."
    bound = next((context[name] for name in _BOUNDS if name in context), "")
    return _SAYINGS.get(kind, "This cannot be used here.").format(limit=bound)


def sentence(said: str) -> str:
    """With a capital and a full stop."""
    return f"{said[0].upper()}{said[1:]}" + ("" if said.endswith(("?", ".")) else ".")
