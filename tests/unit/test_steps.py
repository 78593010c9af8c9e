"""Laws of the walk through a flow, of the owner's copy, and of the addresses a customer may be sent to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flow_pages import document, links, steps, wording

_words = st.sampled_from(["a", "b", "c", "d", "e"])


@st.composite
def flows(draw: st.DrawFn) -> document.Flow:
    offers = draw(st.lists(_words, unique=True, max_size=5))
    reasons = draw(st.lists(_words, unique=True, min_size=1, max_size=5))
    survey = document.Survey(
        title="Why?",
        reasons=tuple(
            document.Reason(
                id=reason,
                label=reason,
                feedback="other",
                offers=tuple(draw(st.lists(st.sampled_from(offers), unique=True, max_size=2))) if offers else (),
            )
            for reason in reasons
        ),
    )
    return document.Flow(
        survey=draw(st.sampled_from([survey, None])) if not offers else survey,
        offers=tuple(document.DiscountOffer(id=offer, headline="h", accept="y", decline="n") for offer in offers),
        confirm=document.Confirm(title="t", button="b"),
        done=document.Done(canceled="c", saved="s"),
    )


@given(flows(), st.data())
def test_every_flow_ends_in_a_confirmation_whatever_is_answered(flow: document.Flow, data: st.DataObject) -> None:
    fitting = data.draw(st.sets(_words))
    answers: dict[str, dict[str, object]] = {}
    for _ in range(1 + 2):  # a survey, and at most two offers
        match steps.next_step(flow, answers, fitting):
            case steps.SurveyStep():
                reasons = [None, "nonsense", *(reason.id for reason in flow.survey.reasons if flow.survey)]
                answers[steps.SURVEY] = {"reason": data.draw(st.sampled_from(reasons))}
            case steps.OfferStep(offer=offer):
                assert offer.id in fitting
                answers[steps.offer_key(offer.id)] = {"declined": True}
            case steps.ConfirmStep():
                break
    assert isinstance(steps.next_step(flow, answers, fitting), steps.ConfirmStep)


@given(flows(), st.dictionaries(st.sampled_from(["survey", "skip", "offer:a", "offer:b", "x"]), st.just({"reason": "a"})), st.sets(_words))
def test_cancel_now_leads_to_the_confirmation_from_anywhere(
    flow: document.Flow, answers: dict[str, dict[str, str]], fitting: set[str]
) -> None:
    assert isinstance(steps.next_step(flow, {**answers, steps.SKIP: {}}, fitting), steps.ConfirmStep)


@given(flows(), st.dictionaries(st.sampled_from(["survey", "skip", "offer:a", "offer:b"]), st.just({"reason": "a"})), st.sets(_words))
def test_what_was_seen_stays_open_to_be_seen_again(flow: document.Flow, answers: dict[str, dict[str, str]], fitting: set[str]) -> None:
    way = steps.path(flow, answers, fitting)
    assert len({step.name for step in way}) == len(way)
    assert steps.path(flow, {**answers, steps.SKIP: {}}, fitting)[: len(way) - 1] == way[:-1]


@given(flows())
def test_a_document_survives_its_storage(flow: document.Flow) -> None:
    assert document.parse(flow.as_json()) == flow


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"offers": []}, "not here"),
        ({"confirm": {"title": "", "button": "x"}}, "title"),
        ({"confirm": {"title": "{% for a in b %}", "button": "x"}}, "Liquid"),
        ({"confirm": {"title": "a\0b", "button": "x"}}, "cannot be shown"),
        ({"extra": 1}, "extra"),
        ({"schema_version": 2}, "schema_version"),
        ({"schema_version": "1"}, "schema_version"),
    ],
)
def test_a_document_that_could_not_be_shown_is_refused_by_name(change: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        document.parse({**document.default_flow().as_json(), **change})
    assert told in str(refusal.value)


# RELIABILITY F: each is shown as it was written, or refused where it is saved; never worked out.
HOSTILE_COPY = [
    "{{7*7}}",
    "${7*7}",
    "{% for %}",
    "{{config}}",
    "{{''.__class__.__mro__}}",
    "{0.__class__}",
    "{{{x}}}",
    "{{&x}}",
    "{{=<% %>=}}",
    "<%= 7*7 %>",
    "#{7*7}",
    "{% include 'x' %}",
    "{% render 'x' %}",
    "{% assign a = 1 %}",
    "{% capture a %}b{% endcapture %}",
    "{% for i in (1..100000000) %}x{% endfor %}",
    "{% if",
    "{{",
    "{{ first_name.__class__ }}",
]


@pytest.mark.parametrize("copy", HOSTILE_COPY)
def test_hostile_copy_is_shown_literally_or_refused(copy: str) -> None:
    shown = wording.render(copy, {"first_name": "Ada"})
    assert "49" not in shown
    assert "<class" not in shown
    assert "Ada" not in shown
    assert shown == copy or wording.problem(copy) or shown in {"there", ""}


def test_a_filter_that_is_none_is_refused_and_where_it_was_kept_leaves_the_value_as_it_is() -> None:
    copy = "{{ first_name | base64_decode }}"
    assert wording.problem(copy)
    assert wording.render(copy, {"first_name": "Ada"}) == "Ada"


def test_half_a_character_is_shown_as_unreadable() -> None:
    assert wording.render("{{ first_name }}", {"first_name": "A\ud800"}) == "A?"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r")))
def test_a_customers_name_is_never_worked_out(name: str) -> None:
    assert wording.render("{{ first_name }}", {"first_name": name}) == name


@given(st.text(max_size=200))
def test_any_copy_renders(copy: str) -> None:
    assert isinstance(wording.render(copy, {}), str)


@pytest.mark.parametrize(
    "copy",
    [
        "{{ first_name.__class__ }}",
        "{{ first_name['x'] }}",
        "{{ first_name[0] }}",
        "{{ first_name | default: amount.x }}",
        "{% if plan_name.size > 3 %}long{% endif %}",
    ],
)
def test_copy_that_looks_inside_a_variable_is_refused(copy: str) -> None:
    assert "cannot look inside" in (wording.problem(copy) or "")


def test_a_missing_value_reads_as_its_default_else_as_ours() -> None:
    assert wording.render("Hi {{ first_name | default: 'friend' }}, {{ plan_name }}", {}) == "Hi friend, your plan"
    assert wording.render("{% if amount %}pays{% else %}unknown{% endif %}", {}) == "unknown"


# RELIABILITY H, with the readings in which parsers differ.
HOSTILE_URLS = [
    "//evil.test",
    "https:evil.test",
    "/\\evil.test",
    "https://good.test@evil.test",
    "https://good.test.evil.test",
    "https://good.test%2f@evil.test",
    "javascript:alert(1)",
    "data:text/html,x",
    "https://good.test\n.evil.test",
    "https://ɡood.test",
    "https:/good.test",
    "https:///good.test",
    "http://good.test",
    "https://good.test:444",
    "https://good.test:99999",
    "https://good.test:",
    "https://good.test\\@evil.test",
    "https://good.test\t",
    " https://good.test",
    "https://user@good.test",
    "https://:x@good.test",
    "https://good.test%00",
    "https://good%2etest",
    "https://.good.test",
    "https://[::1",
    "",
    "null",
    "*",
    "https://",
    "HTTPS:good.test",
    "https://good.test;x",
    "https://good.test,evil.test",
    "blob:https://good.test/x",
    "https://good.test?\r\nSet-Cookie: a=b",
]


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_an_address_off_the_list_is_refused_however_it_is_written(url: str) -> None:
    assert not links.is_listed(url, ("https://good.test", "https://shop.good.test:8443"))


@pytest.mark.parametrize("url", ["https://good.test", "https://good.test/a?b=c#d", "https://GOOD.test/", "https://good.test:443/x"])
def test_an_address_of_a_listed_origin_is_taken(url: str) -> None:
    assert links.is_listed(url, ("https://good.test",))


@given(st.text(max_size=60))
def test_no_text_at_all_makes_the_parser_fail(text: str) -> None:
    for url in (text, f"https://{text}", f"https://good.test{text}"):
        origin = links.origin_of(url)
        assert origin is None or origin == links.origin_of(origin)
