"""Money as Stripe counts it: whole minor units of one currency, and how a person reads them."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal

from babel import Locale, UnknownLocaleError, numbers
from babel.core import get_global

# Stripe's exponents, which are not CLDR's (https://docs.stripe.com/currencies). Whatever is not named here has two decimals.
# That includes ISK and UGX: without decimals to their users, yet sent to Stripe in hundredths (an amount is a multiple of 100).
_ZERO_DECIMAL = frozenset(("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"))
_THREE_DECIMAL = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
# What Stripe charges comes in steps of so many minor units: the last digit of three decimals is 0, and the hundredths of ISK and UGX are.
_STEPS = {**dict.fromkeys(_THREE_DECIMAL, 10), "isk": 100, "ugx": 100}
# Anybody's money today by CLDR, and what Stripe still calls by its earlier code. It holds some that Stripe does not charge in: nobody's
# subscription is in one of them, and Stripe's own list grows.
_SPANS = get_global("territory_currencies").values()
_IN_USE = {code.lower() for spans in _SPANS for code, _, end, is_tender in spans if is_tender and not end} | {"ang", "std"}
# Those that do not have two decimals.
UNUSUAL = _ZERO_DECIMAL | _THREE_DECIMAL


class CurrencyMismatch(ValueError):
    """Two currencies met in one sum; there is no exchange rate here to answer with."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in the smallest unit Stripe knows for the currency (cents, yen, fils); the currency is Stripe's lower-case code."""

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if not isinstance(self.amount, int) or isinstance(self.amount, bool):
            raise ValueError(f"an amount is a whole number of minor units, not {self.amount!r}")
        if not (len(self.currency) == 3 and self.currency.isascii() and self.currency.isalpha() and self.currency.islower()):
            raise ValueError(f"a currency is three lower-case letters, not {self.currency!r}")

    @property
    def decimal(self) -> Decimal:
        """The amount in the unit people speak of: `Money(1050, "usd").decimal == Decimal("10.50")`."""
        return Decimal(self.amount).scaleb(-exponent(self.currency))

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount - self._same(other), self.currency)

    def __mul__(self, factor: "int | Decimal") -> "Money":
        """Times a count or a share; half a minor unit rounds away from zero, as on Stripe's invoices."""
        return rounded(Decimal(self.amount) * factor, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: "Money") -> bool:
        return self.amount <= self._same(other)

    def __gt__(self, other: "Money") -> bool:
        return self.amount > self._same(other)

    def __ge__(self, other: "Money") -> bool:
        return self.amount >= self._same(other)

    def _same(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} do not add up")
        return other.amount


def sums(amounts: Iterable[Money]) -> tuple[Money, ...]:
    """One sum for each currency, by its letters; those of nothing are left out."""
    found: dict[str, Money] = {}
    for amount in amounts:
        found[amount.currency] = found.get(amount.currency, Money(0, amount.currency)) + amount
    return tuple(found[currency] for currency in sorted(found) if found[currency].amount)


def exponent(currency: str) -> int:
    """How many decimals Stripe's integer amounts of this currency carry: 0, 2 or 3."""
    if currency in _ZERO_DECIMAL:
        return 0
    return 3 if currency in _THREE_DECIMAL else 2


def is_in_use(currency: str) -> bool:
    """Whether there is such a currency today."""
    return currency in _IN_USE


def step(currency: str) -> int:
    """What every amount that Stripe charges in this currency is a multiple of, in minor units: 1 for most, 10 for Kuwaiti dinars."""
    return _STEPS.get(currency, 1)


def rounded(minor_units: Decimal, currency: str) -> Money:
    """Money from a fraction of minor units (Stripe's `*_decimal` fields); half a unit rounds away from zero."""
    return Money(int(minor_units.quantize(Decimal(1), ROUND_HALF_UP, Context(prec=99))), currency)


def format(money: Money, locale: str) -> str:
    """As a reader of this locale (`de`, `pt-BR`, `pt_BR`) writes it; an unknown locale reads English.

    The number of decimals is the reader's (none for yen or Icelandic krónur), unless that would round money away.
    """
    value, code, who = money.decimal, money.currency.upper(), reader(locale)
    shown = value.quantize(Decimal(1).scaleb(-numbers.get_currency_precision(code)))
    is_exact = shown == value
    text = numbers.format_currency(value, code, locale=who, currency_digits=is_exact, decimal_quantization=is_exact)
    # Where a currency has no sign its code stands in; CLDR then wants a space beside the digits, which Babel leaves out.
    return re.sub(rf"(?<=\d)(?={code})|(?<={code})(?=\d)", "\N{NO-BREAK SPACE}", text)


def reader(tag: str) -> Locale:
    """The locale of a reader by its tag (`de`, `pt-BR`, `pt_BR`); English for one that nobody knows."""
    return _locale(tag) or Locale("en")


def is_known(tag: str) -> bool:
    """Whether there is anybody who reads by this tag."""
    return _locale(tag) is not None


@functools.lru_cache(maxsize=256)
def _locale(tag: str) -> Locale | None:
    try:
        return Locale.parse(tag.replace("-", "_"))
    except (ValueError, TypeError, UnknownLocaleError):
        return None
