"""The offers pages: each kind is made and changed without script, published, tried on real subscriptions, and told of whom it reaches."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from connect_app.admin import flows, offers
from connect_app.models import Audience, FlowVersion, Subscription
from connect_app.runtime import Runtime
from flow_pages.document import DiscountOffer, Flow, PauseOffer, PlanOffer
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.http import dashboard
from tests.http.dashboard import Member, said
from tests.http.test_admin_customers import subscribe

COPY = {"name": "Ours", "headline": "Stay, {{ first_name }}", "body": "", "accept": "Yes please", "decline": "No thanks"}
COMMON = {**COPY, "where": "closing", "by": "holdfast", "audience": ""}
BREAK = {**COMMON, "count": "1", "interval": "month"}
NASTY = "<img src=x onerror=alert(1)>"


@pytest.fixture
def editor(app: Flask, rt: Runtime, stage: make.Stage) -> Member:
    return dashboard.member(app, rt, stage, "editor")


def kept(rt: Runtime, stage: make.Stage) -> list[offers.Kept]:
    with rt.transaction(stage.workspace_id) as session:
        return offers.listing(session, stage.workspace_id)


def published(rt: Runtime, stage: make.Stage) -> Flow:
    with rt.transaction(stage.workspace_id) as session:
        return flows.default_document(session, stage.workspace_id)


def versions(rt: Runtime, stage: make.Stage) -> int:
    with rt.transaction(stage.workspace_id) as session:
        return len(session.execute(select(FlowVersion.id)).all())


def made(rt: Runtime, stage: make.Stage, member: Member, kind: str, **typed: Any) -> offers.Kept:
    """A new offer, typed into its form; the newest of those there are."""
    answer = member.post(f"/offers/new?kind={kind}", **{**COMMON, **typed})
    assert answer.status_code == 303, said(answer.get_data(as_text=True))
    return kept(rt, stage)[-1]


def refused(member: Member, path: str, **typed: Any) -> str:
    answer = member.post(path, **typed)
    assert answer.status_code == 422
    return answer.get_data(as_text=True)


def fields(page: str) -> dict[str, Any]:
    """The editor's form as a browser without script would send it, but for the button."""
    form = page[page.index('<form class="stack"') :].split("</form>")[0]
    found: dict[str, Any] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        name, value = re.search(r' name="([^"]*)"', tag), re.search(r' value="([^"]*)"', tag)
        is_box = 'type="radio"' in tag or 'type="checkbox"' in tag
        if name and (not is_box or " checked" in tag):
            found.setdefault(name[1], []).append(html.unescape(value[1]) if value else "")
    for name_, inner in re.findall(r'<select[^>]* name="([^"]*)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.search(r'<option selected value="([^"]*)"', inner) or re.search(r'value="([^"]*)"', inner)
        found[name_] = html.unescape(chosen[1]) if chosen else ""
    for name_, inner in re.findall(r'<textarea[^>]* name="([^"]*)"[^>]*>\r?\n(.*?)</textarea>', form, re.S):
        found[name_] = html.unescape(inner)
    return found


def price(local: LocalStripe, stage: make.Stage, amount: int) -> str:
    return str(next(one["id"] for one in local.world(stage.account, False).all("price") if one["unit_amount"] == amount))


# Making and changing


def test_a_saved_offer_is_what_the_next_customer_is_made(app: Flask, rt: Runtime, stage: make.Stage, editor: Member) -> None:
    early = customers.handed_over(app, stage, "yearly")
    [first] = kept(rt, stage)
    assert "Make an offer : to do" in said(editor.get())
    picked = {**fields(editor.get(f"/offers/{first.id}")), "coupon": "LOYAL15", "headline": "Stay, {{ first_name }}"}
    assert editor.post(f"/offers/{first.id}", **picked).status_code == 303
    page = said(editor.get("/offers"))
    assert "Saved. Version 2 of the default flow is published." in page
    assert "A lower price Discount 15% off for good: 15% off forever After “It is too expensive” 0 0 None set On" in page
    assert "Make an offer : done" in said(editor.get())
    late = customers.handed_over(app, stage, "monthly").look().press("answer", reason="too_expensive")
    assert "Stay, Maya" in late.page
    # Who had begun keeps what they began on.
    assert "accept" not in early.look().press("answer", reason="too_expensive").buttons
    late.press("decline", offer=late.offer)
    assert "0 1 None set" in said(editor.get("/offers"))


KINDS: list[tuple[str, dict[str, Any], str]] = [
    ("discount", {"how": "mint", "percent_off": "12.5", "duration": "repeating", "months": "3"}, "12.5% off for 3 months, a coupon for"),
    (
        "discount",
        {"how": "mint", "amounts": ["USD", "5.00", "JPY", "700", "KWD", "1.250", "", ""], "duration": "once"},
        "¥700 or KWD 1.250 or $5.00 off on the next bill",
    ),
    ("pause", {"count": "2", "interval": "month", "least": "1", "most": "3"}, "1 to 3 months without bills"),
    ("extension", {"count": "2", "interval": "week"}, "2 weeks for free"),
    ("trial_extension", {"days": "14"}, "14 days more of trial"),
    ("link", {"url": "https://a.example/help?who={{ customer_id }}", "is_signed": "y"}, "https://a.example/help?who={{ customer_id }}"),
    ("link", {"url": "mailto:help@a.example"}, "mailto:help@a.example"),
    ("custom", {"payload": ["plan_code", "team-lite", "", ""]}, "plan_code: team-lite"),
]


def test_each_kind_is_kept_as_typed_told_in_words_and_shown_for_changing_as_it_was_kept(
    rt: Runtime, stage: make.Stage, editor: Member
) -> None:
    limits = {
        "starts_on": "2026-01-01", "ends_on": "2030-12-31", "cooldown_days": "90", "lifetime": "2", "not_if_discounted": "y",
        "monthly_budget": ["EUR", "250.50", "JPY", "90000", "BHD", "1.500"], "image": "https://a.example/stay.png",
        "image_alt": "A hammock",
    }  # fmt: skip
    for kind, typed, told in KINDS:
        one = made(rt, stage, editor, kind, **typed, **limits)
        assert told in said(editor.get("/offers")).replace("\xa0", " ")
        has_budget = kind not in ("link", "custom")
        assert dict(one.offer.limits.monthly_budget) == ({"eur": 25050, "jpy": 90000, "bhd": 1500} if has_budget else {})
        assert ("Budget a month" in said(editor.get(f"/offers/{one.id}"))) == has_budget
        before, count = one.offer, versions(rt, stage)
        assert editor.post(f"/offers/{one.id}", **fields(editor.get(f"/offers/{one.id}"))).status_code == 303
        assert kept(rt, stage)[-1].offer == before, "what is shown for changing is what was kept"
        assert versions(rt, stage) == count
        assert "so nothing was published" in said(editor.get("/offers"))


def test_a_new_offer_whose_limits_nobody_touches_is_not_given_to_one_customer_each_month(
    rt: Runtime, stage: make.Stage, editor: Member
) -> None:
    for kind in offers.KINDS:
        typed = {"discount": {"how": "mint", "percent_off": "10"}, "link": {"url": "mailto:help@a.example"}}.get(kind, {})
        assert editor.post(f"/offers/new?kind={kind}", **{**fields(editor.get(f"/offers/new?kind={kind}")), **typed}).status_code == 303
    found = {one.offer.kind: one.offer.limits for one in kept(rt, stage)[1:]}
    assert {kind: (held.cooldown_days, held.lifetime) for kind, held in found.items()} == {
        **dict.fromkeys(("discount", "extension", "trial_extension"), (365, 1)),
        "pause": (180, None),
        **dict.fromkeys(("plan_change", "link", "custom"), (None, None)),
    }


def test_prices_are_picked_up_to_six_and_moved_up_without_losing_what_was_typed(
    rt: Runtime, local: LocalStripe, stage: make.Stage, editor: Member
) -> None:
    cheap, dear = price(local, stage, 500), price(local, stage, 2900)
    path = "/offers/new?kind=plan_change"
    listing = said(editor.get(path))
    assert "Archive storage $5.00 a month" in listing
    answer = editor.post(
        path, **{**COMMON, "prices": [dear, cheap], "when": "now", "proration": "none", "do": f"up:{cheap}", "name": NASTY}
    )
    assert answer.status_code == 200
    page = answer.get_data(as_text=True)
    assert NASTY not in page
    sent = fields(page)
    assert (sent["prices"], sent["name"], sent["when"]) == ([cheap, dear], [NASTY], ["now"])
    assert editor.post(path, **{**sent, "proration": "always_invoice"}).status_code == 303
    offer = kept(rt, stage)[-1].offer
    assert isinstance(offer, PlanOffer)
    assert (offer.prices.test, offer.prices.live, offer.proration) == ((cheap, dear), (), "always_invoice")
    assert "At most 6 of them." in said(refused(editor, path, **{**COMMON, "prices": [f"price_{n}" for n in range(7)]}))
    assert "no price of your account" in said(refused(editor, path, **{**COMMON, "prices": ["price_elsewhere"], "when": "now"}))


def test_the_picker_lists_what_can_be_used_and_finds_by_terms_and_product(
    rt: Runtime, local: LocalStripe, stage: make.Stage, editor: Member
) -> None:
    local.world(stage.account, False).get("coupon", "HALFOFF")["valid"] = False
    rows = [{"id": f"C{n}", "name": f"Spring {n}", "is_valid": True, "raw": coupon_json(f"C{n}", f"Spring {n}")} for n in range(60)]
    with rt.transaction(stage.workspace_id) as session:
        session.execute(
            text("update coupons set raw = jsonb_set(raw::jsonb, '{valid}', 'false')::json, is_valid = false where id = 'HALFOFF'")
        )
        for row in rows:
            session.execute(
                text(
                    "insert into coupons (workspace_id, connection_id, id, name, is_valid, as_of, raw)"
                    " values (:w, :c, :id, :name, true, now(), :raw)"
                ),
                {"w": stage.workspace_id, "c": stage.connection_id, "id": row["id"], "name": row["name"], "raw": row["raw"]},
            )
    path = "/offers/new?kind=discount"
    page = editor.get(path)
    assert "HALFOFF" not in page
    assert page.count('name="coupon"') == 41
    assert "more. Search for the one you mean." in said(page)
    first = re.search(r'<button[^>]* name="do" value="(\w+)"', page[page.index('<form class="stack"') :])
    assert first is not None
    assert first[1] == "find", "Return in the search field, or any other, publishes nothing"
    found = editor.post(path, **{**COMMON, "how": "coupon", "find": "archive 30%", "do": "find", "headline": "Mine"}).get_data(as_text=True)
    assert re.findall(r'name="coupon" value="([^"]+)"', found) == ["ARCHIVE30"]
    assert fields(found)["headline"] == ["Mine"]
    assert "HALFOFF" not in editor.post(path, **{**COMMON, "how": "coupon", "find": "half", "do": "find"}).get_data(as_text=True)
    assert "no such coupon" in said(refused(editor, path, **{**COMMON, "how": "coupon", "coupon": "HALFOFF"}))
    assert len(kept(rt, stage)) == 1


def coupon_json(id: str, name: str) -> str:
    return (
        f'{{"id": "{id}", "object": "coupon", "name": "{name}", "percent_off": 5, "duration": "once", "valid": true, "times_redeemed": 0}}'
    )


def test_each_mode_has_a_coupon_of_its_own(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    [first] = kept(rt, stage)
    with rt.transaction(stage.workspace_id) as session:
        offer = first.offer.model_copy(
            update={"coupons": DiscountOffer.model_fields["coupons"].default.model_copy(update={"live": "LIVE_ONE"})}
        )
        offers.save(session, stage.workspace_id, first.id, name="x", offer=offer, placement=first.placement, now=rt.now(), by="operator")
    editor.post(f"/offers/{first.id}", **{**fields(editor.get(f"/offers/{first.id}")), "coupon": "STAY20"})
    changed = kept(rt, stage)[0].offer
    assert isinstance(changed, DiscountOffer)
    assert (changed.coupons.test, changed.coupons.live) == ("STAY20", "LIVE_ONE")


# What is wrong

WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("pause", {"name": " "}, "name", "Write a name of at most 100 characters."),
    ("pause", {"headline": ""}, "headline", "Write something here."),
    ("pause", {"headline": "x" * 201}, "headline", "At most 200 characters."),
    ("pause", {"body": "x" * 4001}, "body", "At most 4000 characters."),
    ("pause", {"headline": "{{ password }}"}, "headline", "There is no variable called password."),
    ("pause", {"headline": "{% for x in y %}"}, "headline", "This is not Liquid we can read"),
    ("pause", {"accept": "{{ first_name | no_such }}"}, "accept", "no filter called no_such"),
    ("pause", {"image": "http://a.example/x.png"}, "image", "begins with https://"),
    ("pause", {"count": "two"}, "count", "Write a whole number."),
    ("pause", {"count": ""}, "count", "Write a whole number."),
    ("pause", {"count": "0"}, "count", "At least 1."),
    ("pause", {"count": "400"}, "count", "At most 365."),
    ("pause", {"count": "13"}, "count", "At most 12 months: a year."),
    ("pause", {"count": "53", "interval": "week"}, "count", "At most 52 weeks: a year."),
    ("pause", {"count": "12", "least": "11", "most": "14"}, "most", "At most 12 months: a year."),
    ("extension", {"count": "24", "interval": "month"}, "count", "At most 12 months: a year."),
    ("pause", {"image_alt": "{{ password }}"}, "image_alt", "There is no variable called password."),
    ("pause", {"count": "5", "least": "1", "most": "3"}, "count", "The length is outside its bounds."),
    ("pause", {"least": "1"}, "count", "Say both bounds, or none."),
    ("pause", {"starts_on": "soon"}, "starts_on", "Write a day, such as 2026-12-31."),
    ("pause", {"starts_on": "2027-01-02", "ends_on": "2027-01-01"}, "ends_on", "The last day is before the first one."),
    ("pause", {"cooldown_days": "-1"}, "cooldown_days", "Write a whole number."),
    ("pause", {"lifetime": "0"}, "lifetime", "At least 1."),
    ("pause", {"monthly_budget": ["EUR", "ten"]}, "monthly_budget", "EUR ten: write an amount such as 12.50."),
    ("pause", {"monthly_budget": ["JPY", "10.50"]}, "monthly_budget", "JPY 10.50: write an amount such as 1200."),
    ("pause", {"monthly_budget": ["EUX", "10"]}, "monthly_budget", "EUX 10: write a currency by its three letters, such as EUR."),
    ("pause", {"monthly_budget": ["DEM", "10"]}, "monthly_budget", "DEM 10: write a currency by its three letters, such as EUR."),
    ("pause", {"monthly_budget": ["", "10"]}, "monthly_budget", "10: write a currency by its three letters, such as EUR."),
    ("pause", {"monthly_budget": ["EUR", "9999999999"]}, "monthly_budget", "EUR 9999999999: write an amount such as 12.50."),
    ("pause", {"monthly_budget": ["EUR", "1", "EUR", "2"]}, "monthly_budget", "EUR stands there twice."),
    ("pause", {"where": "reasons"}, "reasons", "Tick at least one reason"),
    ("pause", {"where": "reasons", "reasons": "no_such_reason"}, "reasons", "Tick at least one reason"),
    ("pause", {"where": "nowhere"}, "where", "Not a valid choice."),
    ("pause", {"audience": "aud_none"}, "audience", "Not a valid choice."),
    ("pause", {"by": "nobody"}, "by", "Not a valid choice."),
    ("discount", {"how": "mint", "duration": "once"}, "percent_off", "Write a percentage, or an amount for at least one currency."),
    ("discount", {"how": "mint", "duration": "once", "percent_off": "10", "amounts": ["USD", "1"]}, "percent_off", "and not both."),
    ("discount", {"how": "mint", "duration": "once", "percent_off": "101"}, "percent_off", "At most 100."),
    ("discount", {"how": "mint", "duration": "once", "percent_off": "0"}, "percent_off", "More than 0."),
    ("discount", {"how": "mint", "duration": "once", "amounts": ["XYZ", "1"]}, "amounts", "XYZ 1: write a currency by its three letters"),
    ("discount", {"how": "mint", "duration": "once", "amounts": ["JPY", "1.50"]}, "amounts", "JPY 1.50: write an amount such as 1200."),
    ("discount", {"how": "mint", "duration": "once", "amounts": ["KWD", "1.255"]}, "amounts", "Stripe charges KWD in steps of 0.01."),
    ("discount", {"how": "mint", "duration": "once", "amounts": ["ISK", "99.50"]}, "amounts", "Stripe charges ISK in steps of 1."),
    ("discount", {"how": "mint", "duration": "once", "percent_off": "ten"}, "percent_off", "Write a number, such as 25."),
    ("discount", {"how": "mint", "duration": "repeating", "percent_off": "10"}, "months", "Say for how many months."),
    ("trial_extension", {"days": "366"}, "days", "At most 365."),
    ("link", {"url": "javascript:alert(1)"}, "url", "begins with https://"),
    ("link", {"url": ""}, "url", "begins with https://"),
    ("link", {"url": "https://a.example/?who={{ customer }}"}, "url", "no variable called customer; did you mean customer_id?"),
    ("link", {"url": "https://a.example/?of={{ coupon }}"}, "url", "There is no variable called coupon."),
    ("link", {"url": "mailto:help@a.example?subject={{ nobody }}"}, "url", "There is no variable called nobody."),
    ("link", {"url": "https://a.example/{{ first_name | upcase }}"}, "url", "Write variables as {{ name }}, without filters."),
    ("custom", {"payload": ["Plan Code", "x"]}, "payload", "Names have small letters, digits and _ only"),
    ("custom", {"payload": ["who", "{{ customer_id }}"]}, "payload", "Values go out as they are written"),
    ("custom", {"payload": ["a", "x", "a", "y"]}, "payload", "A name stands there twice."),
]  # fmt: skip


def test_what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    good: dict[str, dict[str, Any]] = {
        "pause": BREAK, "extension": BREAK, "discount": COMMON, "trial_extension": {**COMMON, "days": "7"}, "link": COMMON,
        "custom": COMMON,
    }  # fmt: skip
    before = versions(rt, stage)
    wrong: list[Any] = []
    for kind, typed, field, told in WRONG:
        answer = editor.post(f"/offers/new?kind={kind}", **{**good[kind], **typed})
        page = answer.get_data(as_text=True)
        beside = re.search(rf'id="{field}-error">(.*?)</p>', page, re.S)
        if answer.status_code != 422 or beside is None or told not in said(beside[1]):
            wrong.append((kind, typed, answer.status_code, beside and said(beside[1])))
            continue
        for name, value in typed.items():
            kept_typed = fields(page).get(name)
            flat = [kept_typed] if isinstance(kept_typed, str) else kept_typed or []
            is_choice = name in ("where", "audience", "by", "reasons")
            if not is_choice and any(part.strip() not in flat for part in ([value] if isinstance(value, str) else value)):
                wrong.append((kind, typed, "lost", kept_typed))
    assert wrong == []
    assert (versions(rt, stage), len(kept(rt, stage))) == (before, 1)


def test_each_mistake_is_told_at_once_and_none_that_nobody_made(editor: Member) -> None:
    typed = {"how": "mint", "duration": "once", "amounts": ["XYZ", "5"], "starts_on": "2027-01-02", "ends_on": "2027-01-01", "headline": ""}
    page = refused(editor, "/offers/new?kind=discount", **{**COMMON, **typed})
    assert set(re.findall(r'id="([a-z_]+)-error"', page)) == {"amounts", "ends_on", "headline"}


def test_markup_that_was_typed_is_text(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    one = made(rt, stage, editor, "pause", **{**BREAK, "name": NASTY, "headline": NASTY, "accept": NASTY})
    for path in ("/offers", f"/offers/{one.id}", f"/offers/{one.id}/preview", f"/offers/{one.id}/reach"):
        assert NASTY not in editor.get(path)


# The list


def test_offers_are_ordered_switched_and_deleted_and_each_is_published_and_written_down(
    rt: Runtime, stage: make.Stage, editor: Member
) -> None:
    one, two = made(rt, stage, editor, "pause", **{**BREAK, "name": "One"}), made(rt, stage, editor, "pause", **{**BREAK, "name": "Two"})
    assert published(rt, stage).closing == (one.id, two.id)
    editor.post(f"/offers/{two.id}/move", to="up")
    assert published(rt, stage).closing == (two.id, one.id)
    editor.post(f"/offers/{two.id}/move", to="up")
    assert [each.name for each in kept(rt, stage)] == ["Two", "A lower price", "One"]
    editor.post(f"/offers/{two.id}/move", to="up")
    assert [each.name for each in kept(rt, stage)] == ["Two", "A lower price", "One"]
    editor.post(f"/offers/{two.id}/switch", to="off")
    assert published(rt, stage).closing == (one.id,)
    assert "Two Pause 1 month without bills After any reason 0 0 None set Off" in said(editor.get("/offers"))
    editor.post(f"/offers/{two.id}/switch", to="on")
    for each in kept(rt, stage):
        editor.post(f"/offers/{each.id}/delete")
    assert published(rt, stage).offers == ()
    assert "No offers yet" in editor.get("/offers")
    assert "Make an offer : to do" in said(editor.get())
    with rt.transaction(stage.workspace_id) as session:
        verbs = session.execute(text("select verb from audit_log where verb like 'offer%' order by id")).scalars().all()
    assert {"offer.added", "offers.ordered", "offer.switched_off", "offer.switched_on", "offer.deleted"} <= set(verbs)


def test_a_chain_that_is_too_long_is_refused_and_nothing_changes(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    with rt.transaction(stage.workspace_id) as session:
        offer = offers.read({"kind": "pause", "id": "x", "headline": "H", "accept": "A", "decline": "D", "interval": "month", "count": 1})
        for n in range(20):
            place = offers.Placement(where="closing")
            offers.add(session, stage.workspace_id, name=f"P{n}", offer=offer, placement=place, now=rt.now(), by="operator")
    assert "More than 20 offers would follow each other" in said(refused(editor, "/offers/new?kind=pause", **BREAK))
    assert len(kept(rt, stage)) == 21


def test_what_was_accepted_and_spent_is_counted_in_its_mode(app: Flask, rt: Runtime, stage: make.Stage, editor: Member) -> None:
    one = made(rt, stage, editor, "pause", **{**BREAK, "monthly_budget": ["USD", "100"]})
    browser = customers.handed_over(app, stage, "monthly").look().press("answer", reason="other")
    browser.press("accept", offer=browser.offer)
    page = said(editor.get("/offers"))
    assert "After any reason 1 0 $29.00 of $100.00 On" in page
    with rt.transaction(stage.workspace_id) as session:
        assert offers.tallies(session, stage.workspace_id, "live", [one], rt.now())[one.id].accepted == 0


def test_an_analyst_looks_and_changes_nothing(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    analyst = dashboard.member(app, rt, stage, "analyst")
    [first] = kept(rt, stage)
    page = analyst.get(f"/offers/{first.id}")
    assert '<fieldset class="stack stack-l" disabled>' in page
    assert "Save and publish" not in page
    assert "/move" not in analyst.get("/offers")
    assert analyst.post(f"/offers/{first.id}", **COMMON).status_code == 403


def test_the_old_address_leads_here(editor: Member) -> None:
    answer = editor.client.get(f"/admin/{editor.slug}/settings/offer")
    assert (answer.status_code, answer.location) == (301, f"/admin/{editor.slug}/offers")


def test_an_audience_that_an_offer_names_cannot_be_deleted(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    rule = {"match": "all", "rules": [{"field": "plan_name", "type": "text", "verb": "is", "value": "Pro"}]}
    with rt.transaction(stage.workspace_id) as session:
        session.add(Audience(id="aud_1", workspace_id=stage.workspace_id, name="Pros", rule=rule, created_at=rt.now(), changed_at=rt.now()))
    one = made(rt, stage, editor, "pause", **{**BREAK, "name": "A break", "audience": "aud_1"})
    assert "For “Pros”" in said(editor.get("/offers"))
    editor.post("/audiences/aud_1/delete")
    assert "“Pros” is the audience of “A break”." in said(editor.get("/audiences/aud_1"))
    editor.post(f"/offers/{one.id}/delete")
    assert editor.post("/audiences/aud_1/delete").location.endswith("/audiences")
    editor.get("/audiences/aud_1", 404)


# Trying one on, and whom it reaches


def test_the_preview_is_the_page_that_the_customer_reads(app: Flask, rt: Runtime, stage: make.Stage, editor: Member) -> None:
    one = made(rt, stage, editor, "pause", **{**BREAK, "headline": "Rest, {{ first_name }}?", "least": "1", "most": "3"})
    subscription = stage.shapes["monthly"][1]
    path = f"/offers/{one.id}/preview/page?subscription={subscription}"
    shown = editor.client.get(f"/admin/{editor.slug}{path}")
    assert "frame-ancestors 'self'" in shown.headers["Content-Security-Policy"]
    as_tried = said(shown.get_data(as_text=True))
    real = said(customers.handed_over(app, stage, "monthly").look().press("answer", reason="other").page)
    assert "Rest, Maya?" in as_tried
    # Stripe's own word on the next charge, the progress and the way out are the flow's.
    terms = as_tried[as_tried.index("Fernhill Software") : as_tried.index("Next charge")]
    assert terms in real
    outside = editor.get(f"/offers/{one.id}/preview?subscription={subscription}")
    assert f'src="/admin/{editor.slug}{path}"' in outside
    with rt.transaction(stage.workspace_id) as session:
        assert session.execute(text("select count(*) from sessions")).scalar_one() == 1


def test_the_preview_says_why_an_offer_cannot_be_made(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    one = made(rt, stage, editor, "pause", **BREAK)
    page = editor.get(f"/offers/{one.id}/preview?subscription={stage.shapes['yearly'][1]}")
    assert "before the next bill on" in said(page)
    assert "<iframe" not in page
    assert {"trialing", "past due", "paused", "yearly"} <= set(re.findall(r"trialing|past due|paused|yearly", said(page)))
    assert "There is no such subscription" in said(editor.get(f"/offers/{one.id}/preview?subscription=sub_none"))
    editor.get(f"/offers/{one.id}/preview/page?subscription={stage.shapes['yearly'][1]}", 404)


def test_each_refusal_says_how_many_it_covers_and_what_they_are_worth(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    one = made(rt, stage, editor, "trial_extension", days="7")
    with rt.transaction(stage.workspace_id) as session:
        reach = offers.look(session, stage.workspace_id, stage.connection_id, one.offer, "test", rt.now())
        rows = session.execute(select(Subscription.id, Subscription.status)).all()
    running = [row for row in rows if row.status not in ("canceled", "incomplete_expired")]
    assert (reach.is_exact, reach.total, reach.possible.subscriptions) == (True, len(running), 1)
    covered = {part.title: (part.subscriptions, {code: worth.amount for code, worth in part.worth.items()}) for part in reach.refused}
    assert covered["Not on trial"][0] == len(running) - 2
    assert covered["Paused already"] == (1, {"usd": 1200})
    assert sum(count for count, _ in covered.values()) == len(running) - 1
    page = said(editor.get(f"/offers/{one.id}/reach"))
    assert f"1 of {len(running)} running subscriptions, worth $29.00 a month" in page
    assert re.search(r"Paused already 1 \$12\.00 a month The subscription is paused already until [0-9-]+\.", page)
    assert "data-poll-done" in editor.get(f"/offers/{one.id}/reach?part")


def test_the_reach_counts_its_audience_and_discounts_that_are_there(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    rule = {"match": "all", "rules": [{"field": "plan_name", "type": "text", "verb": "is", "value": "Starter"}]}
    with rt.transaction(stage.workspace_id) as session:
        session.add(
            Audience(id="aud_1", workspace_id=stage.workspace_id, name="Small", rule=rule, created_at=rt.now(), changed_at=rt.now())
        )
    offer = {"how": "mint", "percent_off": "10", "duration": "forever", "not_if_discounted": "y"}
    wide, narrow = made(rt, stage, editor, "discount", **offer), made(rt, stage, editor, "discount", **offer, audience="aud_1")
    with rt.transaction(stage.workspace_id) as session:
        place = session, stage.workspace_id, stage.connection_id
        everybody, few = (offers.look(*place, one.offer, "test", rt.now()) for one in (wide, narrow))
    assert 0 < few.possible.subscriptions < everybody.possible.subscriptions
    assert "Not in its audience" in [part.title for part in few.refused]


def test_a_large_account_is_told_of_from_a_share_that_is_said_to_be_one(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    pairs = [(f"cus_{n}", f"sub_many_{n}") for n in range(600)]
    subscribe(rt, stage, "monthly", pairs)
    one = made(rt, stage, editor, "trial_extension", days="7")
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("analyze subscriptions"))
        place = session, stage.workspace_id, stage.connection_id, one.offer, "test", rt.now()
        share = offers.look(*place, all_of=100, drawn=200)
        hasty = offers.look(*place, seconds=0)
    assert share.is_large
    assert not share.is_exact
    assert 300 <= share.total <= 1300
    assert not hasty.is_exact
    assert (hasty.looked_at, hasty.total) == (200, 613)
    assert sum(hasty.count(part) for part in (hasty.possible, *hasty.refused)) == pytest.approx(613, abs=5)


def test_a_day_that_is_over_is_told_on_the_list_and_the_preview(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    yesterday = (rt.now() - timedelta(days=1)).date()
    one = made(rt, stage, editor, "pause", **{**BREAK, "ends_on": yesterday.isoformat()})
    assert isinstance(one.offer, PauseOffer)
    assert "Over since" in said(editor.get("/offers"))
    assert "Its last day is over" in said(editor.get(f"/offers/{one.id}/preview"))


def test_without_an_account_everything_can_be_set_up_but_the_picks(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("update connections set state = 'disconnected'"))
    assert "No Stripe account is connected in test mode" in said(editor.get("/offers/new?kind=discount"))
    assert editor.post("/offers/new?kind=pause", **BREAK).status_code == 303
