"""Money in Stripe's minor units, read by people in their own way."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_app import money
from connect_app.money import CurrencyMismatch, Money


@pytest.mark.parametrize(
    ("amount", "currency", "decimal"),
    [
        (1050, "usd", "10.50"),
        (1050, "jpy", "1050"),
        (1050, "kwd", "1.050"),
        (500_000, "isk", "5000.00"),
        (500_000, "ugx", "5000.00"),
        (1050, "afn", "10.50"),
        (-5, "eur", "-0.05"),
    ],
)
def test_an_amount_is_scaled_by_stripes_table_not_by_cldrs(amount: int, currency: str, decimal: str) -> None:
    assert Money(amount, currency).decimal == Decimal(decimal)


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "text"),
    [
        (123_456, "usd", "en", "$1,234.56"),
        (123_456, "eur", "de", "1.234,56\N{NO-BREAK SPACE}€"),
        (123_456, "eur", "pt-BR", "€\N{NO-BREAK SPACE}1.234,56"),
        (1234, "jpy", "en-US", "¥1,234"),
        (1234, "kwd", "en", "KWD\N{NO-BREAK SPACE}1.234"),
        (500_000, "isk", "en", "ISK\N{NO-BREAK SPACE}5,000"),
        (-1999, "gbp", "en-GB", "-£19.99"),
    ],
)
def test_money_reads_as_its_reader_writes_it(amount: int, currency: str, locale: str, text: str) -> None:
    assert money.format(Money(amount, currency), locale) == text


def test_decimals_that_the_locale_drops_are_shown_when_they_count() -> None:
    assert money.format(Money(1050, "afn"), "en") == "AFN\N{NO-BREAK SPACE}10.50"


@pytest.mark.parametrize("locale", ["", "xx-YY", "../../etc/passwd", "en\0", "a" * 5000, "🙂"])
def test_an_unknown_locale_reads_english(locale: str) -> None:
    assert money.format(Money(100, "usd"), locale) == "$1.00"


def test_two_currencies_do_not_add_up() -> None:
    for operation in (Money.__add__, Money.__sub__, Money.__lt__, Money.__ge__):
        with pytest.raises(CurrencyMismatch):
            operation(Money(1, "usd"), Money(1, "eur"))


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_arithmetic_is_that_of_whole_minor_units(one: int, other: int) -> None:
    assert Money(one, "usd") + Money(other, "usd") - Money(other, "usd") == Money(one, "usd")
    assert -Money(one, "usd") == Money(one, "usd") * -1
    assert (Money(one, "usd") < Money(other, "usd")) == (one < other)


def test_half_a_cent_rounds_away_from_zero() -> None:
    assert Money(5, "usd") * Decimal("0.5") == Money(3, "usd")
    assert Money(-5, "usd") * Decimal("0.5") == Money(-3, "usd")
    assert money.rounded(Decimal("2.5"), "jpy") == Money(3, "jpy")


def test_absurdly_much_money_still_rounds() -> None:
    assert money.rounded(Decimal(7 * 10**40), "usd") == Money(7 * 10**40, "usd")


@pytest.mark.parametrize(("amount", "currency"), [(1.5, "usd"), (True, "usd"), (1, "USD"), (1, "dollar"), (1, ""), (1, "éur")])
def test_what_is_no_money_is_refused(amount: object, currency: str) -> None:
    with pytest.raises(ValueError, match=r"an amount is|a currency is"):
        Money(amount, currency)  # type: ignore[arg-type]
