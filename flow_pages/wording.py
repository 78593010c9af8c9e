"""The owner's copy: Liquid cut down to variables, fallbacks and conditions, bounded in size, plain text on its way out.

What comes out is text, never markup: the template that shows it escapes it as a whole, the owner's words and the customer's name alike.
"""

import difflib
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from babel.dates import format_date
from babel.numbers import format_decimal
from liquid import BoundTemplate, Environment, Undefined
from liquid.exceptions import LiquidError

from connect_app import money
from connect_app.models.base import Json
from connect_app.money import Money
from webhooks import mapping
from webhooks.catalogue import Value

# What is read where a customer has no such value, the session remembers none, and the copy gives no `default:` of its own.
FALLBACKS = {one.name: one.fallback or "" for one in mapping.DEFAULTS}

_TAGS = ("if", "unless", "case", "content", "output", "illegal", "comment")
_FILTERS = ("default", "capitalize", "downcase", "upcase", "strip", "truncate", "date", "money", "number")
_DATES = ("short", "medium", "long", "full")
_MOST_DECIMALS = 12


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


class _Absent(Undefined):
    """A variable this customer has no value for: nothing to `default:` and to conditions, its fallback in the text."""

    def __str__(self) -> str:
        return FALLBACKS.get(self.name, "")


class _Environment(Environment):
    output_stream_limit = 64_000
    context_depth_limit = 10
    local_namespace_limit = 1_000
    loop_iteration_limit = 100


def _default(word: object, otherwise: object = "") -> object:
    """Something else to say where there is no value. No and 0 are values."""
    known = word.is_known and word.text if isinstance(word, Word) else word not in ("", None) and not isinstance(word, Undefined)
    return word if known else otherwise


def _date(word: object, style: object = "long") -> object:
    """A date `short`, `medium`, `long` or `full`, as its reader writes it."""
    if not (isinstance(word, Word) and word.is_known and isinstance(word.value, datetime)):
        return word
    return format_date(word.value.date(), style if style in _DATES else "long", locale=money.reader(word.locale))


def _money(word: object, currency: object = None) -> object:
    """An amount with its currency; a bare number needs the currency beside it: `{{ seats | money: "eur" }}`."""
    if not (isinstance(word, Word) and word.is_known):
        return word
    code = currency.lower() if isinstance(currency, str) else None
    try:
        amount = mapping.fit("money", word.value if word.value is not None else word.text, currency=code)
    except ValueError:
        return word
    return money.format(amount, word.locale) if isinstance(amount, Money) else word


def _number(word: object, decimals: object = None) -> object:
    """A number as its reader writes it, with this many decimals."""
    if not (isinstance(word, Word) and word.is_known):
        return word
    try:
        number = mapping.fit("decimal", word.value if word.value is not None else word.text, currency=None)
    except ValueError:
        return word
    places = decimals if isinstance(decimals, int) and 0 <= decimals <= _MOST_DECIMALS else None
    form = None if places is None else "#,##0" + ("." + "0" * places if places else "")
    if not isinstance(number, Decimal):
        return word
    return format_decimal(number, form, locale=money.reader(word.locale), decimal_quantization=form is not None)


def _environment() -> _Environment:
    environment = _Environment(undefined=_Absent)
    environment.tags = {name: tag for name, tag in environment.tags.items() if name in _TAGS}
    environment.filters = {name: filter for name, filter in environment.filters.items() if name in _FILTERS}
    environment.filters |= {"default": _default, "date": _date, "money": _money, "number": _number}
    return environment


_LIQUID = _environment()


@functools.lru_cache(maxsize=2048)
def _parsed(text: str) -> BoundTemplate | None:
    try:
        return _LIQUID.from_string(text)
    except LiquidError:
        return None


def problem(text: str) -> str | None:
    """Why this cannot be copy, in words for the owner; None where it can. Which variables there are is not asked: see `unknown`."""
    try:
        found = _LIQUID.from_string(text).analyze()
    except LiquidError as error:
        return f"this is not Liquid we can read: {str(error).splitlines()[0]}"
    paths = (path for found_at in found.globals.values() for path in found_at)
    if deep := sorted({str(path) for path in paths if len(path.segments) > 1}):
        return f"a variable is a plain text, and copy cannot look inside it: {', '.join(deep)}"
    if foreign := sorted(name for name in found.filters if name not in _FILTERS):
        return f"there is no filter called {', '.join(foreign)}; there are {', '.join(_FILTERS)}"
    return None


def names(text: str) -> set[str]:
    """The variables that this copy names; none where it is no Liquid."""
    template = _parsed(text)
    return set(template.analyze().globals) if template is not None else set()


def unknown(text: str, there_are: Collection[str]) -> str | None:
    """Which variables of this copy there are none of, each with the one that may be meant; None where all are known."""
    missing = sorted(names(text) - set(there_are))
    if not missing:
        return None
    told = []
    for name in missing:
        close = difflib.get_close_matches(name, there_are, n=1, cutoff=0.6)
        told.append(f"there is no variable called {name}" + (f"; did you mean {close[0]}?" if close else ""))
    return ", and ".join(told)


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


def render(text: str, variables: Mapping[str, Word | str]) -> str:
    """The copy with this customer's values as plain text; copy that cannot be read is shown as it was written."""
    # Most lines name no variable, and a page has a dozen of them.
    template = _parsed(text) if "{" in text else None
    if template is None:
        return text
    # Half a surrogate pair, which JSON may hold, can be neither drawn nor sent.
    plain = {name: one if isinstance(one, Word) else one.encode(errors="replace").decode() for name, one in variables.items()}
    try:
        return template.render(**plain)
    except LiquidError:
        return text
