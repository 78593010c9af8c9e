"""Words: a variable as copy sees it, and what filters make of one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from babel.dates import format_date
from babel.numbers import format_decimal
from liquid import Undefined
from liquid.exceptions import FilterArgumentError

from connect_app import money
from connect_app.models.base import Json
from connect_app.money import Money
from webhooks import mapping
from webhooks.catalogue import Value

# What is read where a customer has no such value, the session remembers none, and the copy gives no `default:` of its own.
FALLBACKS = {one.name: one.fallback or "" for one in mapping.DEFAULTS}

DATES = ("short", "medium", "long", "full")
MOST_DECIMALS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A variable as copy sees it: its text for people, and its typed value for conditions and filters.

    `is_known` is false where the text is only what stands in: then `default:` takes over, and a condition is not met.
    """

    text: str
    value: Value | None = None
    is_known: bool = True
    locale: str = "en"

    def __str__(self) -> str:
        return self.text

    # `contains` asks collections alone.

    def __len__(self) -> int:
        return len(self.text)

    def __iter__(self) -> Iterator[str]:
        return iter(self.text)

    def __contains__(self, part: object) -> bool:
        if self.value is not None and not isinstance(self.value, str):
            raise FilterArgumentError("only a text contains something", token=None)
        return str(part) in self.text

    def __liquid__(self) -> object:
        """What conditions compare."""
        match self.value if self.is_known else None:
            case None:
                return self.text if self.is_known and self.text else None
            case Money() as amount:
                return amount.decimal
            case datetime() as at:
                return at.date().isoformat()
            case plain:
                return plain


class Absent(Undefined):
    """A variable this customer has no value for: nothing to `default:` and to conditions, its fallback in the text."""

    def __str__(self) -> str:
        return FALLBACKS.get(self.name, "")


def word(value: Value, locale: str) -> Word:
    """A value as a reader of `locale` writes it."""
    return Word(text=mapping.written(value, locale), value=value, locale=locale)


def words(kept: Json, locale: str) -> dict[str, Word]:
    """What a session remembers of its variables (`mapping.keep`), for copy; `locale` is what the filters write for."""
    return {
        name: Word(
            text=str(entry.get("value", entry.get("fallback", ""))), value=mapping.typed(entry), is_known="value" in entry, locale=locale
        )
        for name, entry in kept.items()
    }


def default(word: object, otherwise: object = "") -> object:
    """Something else to say where there is no value. No and 0 are values."""
    known = word.is_known and word.text if isinstance(word, Word) else word not in ("", None) and not isinstance(word, Undefined)
    return word if known else otherwise


def date(word: object, style: object = "long") -> object:
    """A date `short`, `medium`, `long` or `full`, as its reader writes it."""
    if not (isinstance(word, Word) and word.is_known and isinstance(word.value, datetime)):
        return word
    return format_date(word.value.date(), style if style in DATES else "long", locale=money.reader(word.locale))


def in_money(word: object, currency: object = None) -> object:
    """An amount with its currency; a bare number needs the currency beside it: `{{ seats | money: "eur" }}`."""
    if not (isinstance(word, Word) and word.is_known):
        return word
    code = currency.lower() if isinstance(currency, str) else None
    try:
        amount = mapping.fit("money", word.value if word.value is not None else word.text, currency=code)
    except ValueError:
        return word
    return money.format(amount, word.locale) if isinstance(amount, Money) else word


def number(word: object, decimals: object = None) -> object:
    """A number as its reader writes it, with this many decimals."""
    if not (isinstance(word, Word) and word.is_known):
        return word
    try:
        number = mapping.fit("decimal", word.value if word.value is not None else word.text, currency=None)
    except ValueError:
        return word
    places = decimals if isinstance(decimals, int) and 0 <= decimals <= MOST_DECIMALS else None
    form = None if places is None else "#,##0" + ("." + "0" * places if places else "")
    if not isinstance(number, Decimal):
        return word
    return format_decimal(number, form, locale=money.reader(word.locale), decimal_quantization=form is not None)
