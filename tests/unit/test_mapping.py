"""Mappings: a value of the declared type, or the fallback and the reason; written as its reader writes it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_app.money import Money
from flow_pages import spoken, wording
from tests.unit.test_catalogue import CUSTOMER, JSON, NEW, NOW, subject
from webhooks import catalogue, mapping
from webhooks.mapping import Mapping

DAY = datetime(2030, 3, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("type", "value", "fitted"),
    [
        ("text", " Ada ", "Ada"),
        ("text", 12, "12"),
        ("text", Decimal("1.50"), "1.50"),
        ("text", True, "true"),
        ("text", DAY, "2030-03-05"),
        ("text", Money(1050, "usd"), "10.50 USD"),
        ("text", "A\0\ud800B", "AB"),
        ("integer", "12", 12),
        ("integer", "-3", -3),
        ("integer", Decimal("4.0"), 4),
        ("decimal", "12.50", Decimal("12.50")),
        ("decimal", 3, Decimal(3)),
        ("decimal", Money(1050, "usd"), Decimal("10.5")),
        ("boolean", "Yes", True),
        ("boolean", "false", False),
        ("boolean", 1, True),
        ("date", "2030-03-05", DAY),
        ("date", "2030-03-05T01:00:00+01:00", DAY),
        ("date", int(DAY.timestamp()), DAY),
        ("date", str(int(DAY.timestamp())), DAY),
        ("email", "ada@example.com", "ada@example.com"),
        ("url", "https://example.com/a?b=c#d", "https://example.com/a?b=c#d"),
        ("money", Money(5, "eur"), Money(5, "eur")),
        ("money", "29.90", Money(2990, "usd")),
        ("money", "29.9 EUR", Money(2990, "eur")),
        ("money", "jpy 300", Money(300, "jpy")),
        ("money", Decimal("0.005"), Money(1, "usd")),
        ("money", 7, Money(700, "usd")),
    ],
)
def test_what_fits_a_type(type: Any, value: Any, fitted: Any) -> None:
    found = mapping.fit(type, value, currency="usd")
    assert (found, found.__class__) == (fitted, fitted.__class__)


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("text", "  "),
        ("integer", "1.5"),
        ("integer", "١٢"),
        ("integer", True),
        ("integer", 2**63),
        ("integer", "9" * 25),
        ("decimal", "1e5"),
        ("decimal", "NaN"),
        ("decimal", Decimal("1e40")),
        ("decimal", DAY),
        ("boolean", "maybe"),
        ("boolean", 2),
        ("boolean", Decimal(1)),
        ("date", "tomorrow"),
        ("date", "2030-02-30"),
        ("date", True),
        ("date", -5),
        ("date", 2**62),
        ("email", "ada"),
        ("email", "ada@example.com, bob@example.com"),
        ("email", "ada@exa mple.com"),
        ("email", 5),
        ("url", "javascript:alert(1)"),
        ("url", "//example.com"),
        ("url", "https://"),
        ("url", "https://a@b.example"),
        ("url", "https://exa mple.com"),
        ("url", "https://example.com:0x50"),
        ("url", 'https://example.com/"onclick='),
        ("money", "free"),
        ("money", "usd 3 eur"),
        ("money", True),
        ("money", DAY),
    ],
)
def test_what_does_not_fit_a_type_is_said_in_words(type: Any, value: Any) -> None:
    with pytest.raises(mapping.Unfit) as problem:
        mapping.fit(type, value, currency="usd")
    assert str(problem.value).startswith(("“", "it is empty"))
    assert len(str(problem.value)) < 120


def test_an_amount_without_a_currency_is_no_money() -> None:
    with pytest.raises(mapping.Unfit, match="without a currency"):
        mapping.fit("money", "29.90", currency=None)


@pytest.mark.parametrize(
    ("currency", "minor"), [("usd", 2990), ("jpy", 30), ("bhd", 29900), ("isk", 2990), ("ugx", 2990), ("huf", 2990), ("twd", 2990)]
)
def test_a_spoken_amount_is_counted_in_stripe_s_own_minor_units(currency: str, minor: int) -> None:
    assert mapping.fit("money", "29.90", currency=currency) == Money(minor, currency)


def resolved(*every: Mapping, custom: dict[str, Any] | None = None, customer: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    known = subject(NEW, customer or CUSTOMER, custom=custom or {})
    return mapping.resolve(every, known, NOW, **more)


def one(type: Any, source: str, fallback: str | None = None) -> Mapping:
    return Mapping(name="x", type=type, source=source, fallback=fallback)


def test_stripe_s_own_integers_are_minor_units_and_the_owner_s_numbers_are_not() -> None:
    customer = {**CUSTOMER, "balance": 500, "metadata": {"credit": "500"}}
    assert resolved(one("money", "customer.balance"), customer=customer)["x"].value == Money(500, "usd")
    assert resolved(one("money", "customer.metadata.credit"), customer=customer)["x"].value == Money(50000, "usd")
    assert resolved(one("money", "custom.credit"), custom={"credit": 500})["x"].value == Money(50000, "usd")


def test_a_value_that_does_not_fit_becomes_the_fallback_and_says_why_and_from_when() -> None:
    customer = {**CUSTOMER, "metadata": {"seats": "many"}}
    found = resolved(one("integer", "customer.metadata.seats", "5"), customer=customer)["x"]
    assert (found.value, found.reason, found.source, found.as_of) == (5, "“many” is not a whole number", "customer.metadata.seats", NOW)
    assert mapping.write(found, "en") == "5"
    words = resolved(one("integer", "customer.metadata.seats", "a few"), customer=customer)["x"]
    assert (words.value, mapping.write(words, "en")) == (None, "a few")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("customer.metadata.none", "Stripe has none for this customer"),
        ("subscription.nothing", "Stripe has none for this subscription"),
        ("custom.nothing", "the hand-off did not send it"),
        ("first_purchase_date", "Stripe has not been asked for it yet"),
    ],
)
def test_what_is_not_there_says_where_it_was_looked_for(source: str, reason: str) -> None:
    found = resolved(one("text", source))["x"]
    assert (found.value, found.reason, mapping.write(found, "en")) == (None, reason, "")


def test_a_customer_nobody_knows_gets_every_fallback_and_a_reason_for_each() -> None:
    nobody = subject(None, None)
    found = mapping.resolve(mapping.overlaid(None), nobody, NOW)
    assert {one.reason for name, one in found.items() if not name.endswith("_id")} == {
        "the subscription is not known",
        "the customer is not known",
    }
    assert mapping.write(found["first_name"], "en") == "there"
    assert mapping.write(found["renewal_date"], "en") == "the end of your billing period"
    assert found["customer_id"].reason is None


def test_a_property_of_the_hand_off_stands_in_for_a_default_that_stripe_lacks() -> None:
    custom = {"first_name": "Em", "email": "em@example.com"}
    found = resolved(*mapping.DEFAULTS, custom=custom)
    assert (found["first_name"].value, found["first_name"].source) == ("Em", "custom.first_name")
    assert (found["email"].value, found["email"].source) == ("ada@example.com", "customer.email")
    own = Mapping(name="first_name", type="text", source="first_name", fallback="you")
    assert resolved(own, custom=custom)["first_name"].value == "you", "who maps it by hand means what they say"


def test_where_nothing_of_stripe_s_is_read_the_hand_off_still_counts() -> None:
    found = resolved(one("text", "customer.email", "you"), closed="Enrichment is switched off")["x"]
    assert (found.value, found.reason) == ("you", "Enrichment is switched off")
    assert resolved(one("text", "custom.team"), custom={"team": "Blue"}, closed="off")["x"].value == "Blue"


@given(
    JSON,
    st.sampled_from(mapping.TYPES),
    st.none() | st.text(max_size=10),
    st.sampled_from(["custom", "custom.a", "customer.metadata.a", "mrr", ""]),
)
def test_resolving_keeping_and_writing_never_fail(custom: Any, type: Any, fallback: str | None, source: str) -> None:
    given_custom = {"a": custom} if not isinstance(custom, dict) else custom
    wanted = one(type, source, fallback)
    found = resolved(wanted, custom=given_custom, customer={**CUSTOMER, "metadata": given_custom})["x"]
    for locale in ("en", "de", "ar", "xx"):
        assert isinstance(mapping.write(found, locale), str)
    kept = mapping.keep({"x": found}, "de")["x"]
    assert ("value" in kept) is (found.reason is None)
    assert mapping.typed(kept) == found.value


@pytest.mark.parametrize(
    ("value", "locale", "text"),
    [
        (DAY, "en", "March 5, 2030"),
        (DAY, "en-GB", "5 March 2030"),
        (DAY, "de", "5. März 2030"),
        (Money(2900, "usd"), "de", "29,00\xa0$"),
        (Money(300, "jpy"), "en", "¥300"),
        (Money(29000, "bhd"), "en", "BHD\xa029.000"),
        (Money(50000, "isk"), "en", "ISK\xa0500"),
        (12345, "de", "12.345"),
        (Decimal("1234.5"), "en", "1,234.5"),
        (True, "en", "yes"),
        ("as it is", "de", "as it is"),
    ],
)
def test_values_are_written_as_their_reader_writes_them(value: Any, locale: str, text: str) -> None:
    assert mapping.written(value, locale) == text


def test_the_reader_s_language_is_the_hand_off_s_else_the_customer_s_own_else_english() -> None:
    customer = subject(NEW, {**CUSTOMER, "preferred_locales": ["xx-nonsense", "fr-CA"]}).customer
    assert spoken.reader("de", customer) == "de"
    assert spoken.reader("xx-nonsense", customer) == "fr-CA"
    assert spoken.reader(None, customer) == "fr-CA"
    assert spoken.reader(None, None) == "en"


# Variables in copy

WORDS = wording.words(
    mapping.keep(
        {
            **mapping.resolve(
                [
                    Mapping(name="plan", type="text", source="plan_name"),
                    Mapping(name="worth", type="money", source="mrr"),
                    Mapping(name="since", type="date", source="subscription.start_date"),
                    Mapping(name="days", type="integer", source="tenure_days"),
                    Mapping(name="paused", type="boolean", source="subscription.is_paused"),
                    Mapping(name="zero", type="integer", source="custom.zero"),
                    Mapping(name="team", type="text", source="custom.team", fallback="your team"),
                    Mapping(name="seats", type="integer", source="custom.seats", fallback="3"),
                    Mapping(name="html", type="text", source="custom.html"),
                ],
                subject(NEW, CUSTOMER, custom={"zero": 0, "html": "<b>{{ plan }}</b>"}),
                NOW,
            )
        },
        "de",
    ),
    "de",
)


@pytest.mark.parametrize(
    ("copy", "shown"),
    [
        ("{{ plan }}", "Premium Snack Pack"),
        ("{{ plan | upcase }}", "PREMIUM SNACK PACK"),
        ("{{ worth }}", "74,25\xa0$"),
        ("{{ worth | money }}", "74,25\xa0$"),
        ("{{ days | money: 'eur' }}", "152,00\xa0€"),
        ("{{ days | money }}", "152"),
        ("{{ since }}", "1. Januar 2000"),
        ("{{ since | date: 'short' }}", "01.01.00"),
        ("{{ since | date: 'full' }}", "Samstag, 1. Januar 2000"),
        ("{{ since | date: '%Y' }}", "1. Januar 2000"),
        ("{{ days | number: 2 }}", "152,00"),
        ("{{ worth | number: 1 }}", "74,2"),
        ("{{ plan | number }} {{ plan | date }}", "Premium Snack Pack Premium Snack Pack"),
        ("{{ paused }}", "no"),
        ("{{ paused | default: 'x' }}", "no"),
        ("{{ zero | default: 'none' }}", "0"),
        ("{{ team }}", "your team"),
        ("{{ team | default: 'the team' }}", "the team"),
        ("{{ seats }}", "3"),
        ("{{ seats | number }}", "3"),
        ("{{ missing | default: 'else' }}", "else"),
        ("{{ missing | money }}{{ missing | date }}{{ missing | number }}", ""),
        ("{% if worth > 74 %}big{% endif %}", "big"),
        ("{% if days >= 152 %}long{% endif %}", "long"),
        ("{% if plan == 'Premium Snack Pack' %}snack{% endif %}", "snack"),
        ("{% if paused %}paused{% else %}runs{% endif %}", "runs"),
        ("{% if team %}known{% else %}unknown{% endif %}", "unknown"),
        ("{% if since < '2001-01-01' %}old{% endif %}", "old"),
        ("{{ html }}", "<b>{{ plan }}</b>"),
        ("{{ days | number: 99999999 }}", "152"),
        ("{{ plan | truncate: 10 }}", "Premium..."),
    ],
)
def test_copy_says_its_variables(copy: str, shown: str) -> None:
    assert wording.render(copy, WORDS) == shown


@pytest.mark.parametrize(
    ("copy", "shown"),
    [
        ("Now {{ worth | truncate: 'x' }} a month", "Now 74,25\xa0$ a month"),
        ("{{ plan | default: 1, allow_false: true }}!", "Premium Snack Pack!"),
        ("{{ team | upcase: 4 }}", "your team"),
        ("{{ missing | upcase: 4 }}.", "."),
        ("a{% if plan > 3 %}x{% endif %}b", "ab"),
        ("{% if plan > 3 %}x{% elsif since > 5 %}y{% else %}z{% endif %}", "z"),
        ("{% unless since > 5 %}x{% endunless %}", "x"),
        ("{% if worth contains 5 %}x{% else %}y{% endif %}", "y"),
        (
            "{% if plan contains 'Snack' %}x{% endif %}{% if plan contains 'Lunch' %}y{% endif %}{% if team contains 'team' %}z{% endif %}",
            "x",
        ),
        ("{% case plan %}{% when 'x' %}x{% else %}{{ plan | upcase: 3 }}{% endcase %}", "Premium Snack Pack"),
    ],
)
def test_what_cannot_be_worked_out_costs_one_output_or_condition_and_is_never_shown_as_source(copy: str, shown: str) -> None:
    assert wording.render(copy, WORDS) == shown


TYPED: dict[str, catalogue.Type] = {"plan": "text", "worth": "money", "since": "date", "days": "integer", "paused": "boolean"}


@pytest.mark.parametrize(
    ("copy", "why"),
    [
        ("{{ worth | truncate: 'x' }}", "worth being money"),
        ("{% if plan > 5 %}x{% endif %}", "plan being a text"),
        ("{{ plan | default: 1, allow_false: true }}", "allow_false"),
        ("{{ plan | upcase: 4 }}", "plan being a text"),
        ("{% if since > 5 %}x{% endif %}", "since being a date"),
        ("{% if worth contains 5 %}x{% endif %}", "only a text contains something"),
        ("{{ since | date: '%Y' }}", "a date is written short, medium, long, full"),
        ("{{ days | number: 99 }}", "0 to 12 decimals"),
        # Wherever it stands, and whatever is decided before it.
        ("{% if paused and plan > 5 %}x{% endif %}", "plan being a text"),
        ("{% if plan == 'x' %}{{ plan | upcase: 4 }}{% endif %}", "plan being a text"),
        ("{% case plan %}{% when 'x' %}{{ plan | upcase: 4 }}{% endcase %}", "plan being a text"),
    ],
)
def test_copy_that_cannot_be_worked_out_is_refused_before_anybody_reads_it(copy: str, why: str) -> None:
    assert why in (wording.problem(copy, TYPED) or "")


@pytest.mark.parametrize(
    "copy",
    [
        "{% if days > 3 and plan contains 'Pack' %}{{ worth | money }}{% elsif worth >= 20 %}{{ days | number: 2 }}{% endif %}",
        "{% unless paused %}{{ since | date: 'short' }}{% endunless %}{% case plan %}{% when 'x' %}y{% endcase %}",
        "{% if since < '2027-01-01' %}{{ plan | default: 'your plan' | upcase | truncate: 10 }}{% endif %}",
        "{{ days | money: 'eur' }}{% if plan %}known{% endif %}{% comment %}{{ plan | upcase: 4 }}{% endcomment %}",
    ],
)
def test_copy_that_works_for_every_customer_is_let_through(copy: str) -> None:
    assert wording.problem(copy, TYPED) is None


def test_what_copy_names_is_looked_up_and_the_near_one_is_offered() -> None:
    there = ["first_name", "plan_name", "seats"]
    assert wording.unknown("Hi {{ first_name }}", there) is None
    assert wording.unknown("{% if seat > 3 %}{% endif %}", there) == "there is no variable called seat; did you mean seats?"
    assert wording.unknown("{{ zzz }}{{ frist_name }}", there) == (
        "there is no variable called frist_name; did you mean first_name?, and there is no variable called zzz"
    )
    assert wording.unknown("{% if", there) is None
