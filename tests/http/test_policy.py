"""Every route against every caller, generated from the routes themselves: a new one without a row in the policy table fails here."""

import re
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.routing import Rule

from connect_app import policy
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from connect_app.workspaces import api_keys, members
from jobs import actions
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.http import dashboard
from tests.http.dashboard import Member

# Routes that name their workspace in the form.
IN_FORM = {"oauth.disconnect"}


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    return make.workspace(rt, local)


@pytest.fixture
def app(rt: Runtime) -> Flask:
    return dashboard.app(rt)


def rules(app: Flask, *needs: str) -> list[Rule]:
    found = [rule for rule in app.url_map.iter_rules() if policy.needs(rule.endpoint) in needs]
    assert found
    # What ends the connection comes last.
    return sorted(found, key=lambda rule: (rule.endpoint in IN_FORM, rule.endpoint))


def ask(browser: Member, rule: Rule, slug: str) -> int:
    """One request to a route, with ids that nobody has; sign-in redirects count as 401."""
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda part: slug if part[1] == "workspace" else "nobody_has_this", rule.rule)
    if "POST" in (rule.methods or ()):
        answer = browser.client.post(path, data={"csrf_token": browser.token(), "workspace": slug, "mode": "test"})
    else:
        answer = browser.client.get(path)
    is_sent_away = answer.status_code in (302, 303) and (answer.location or "").startswith("/sign-in") and "again" not in answer.location
    return 401 if is_sent_away and rule.endpoint != "signin.sign_out" else answer.status_code


def test_every_route_has_a_row_and_every_row_a_route(app: Flask) -> None:
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == set(policy.TABLE)


def test_a_route_without_a_row_is_refused() -> None:
    with pytest.raises(LookupError):
        policy.needs("admin.somewhere_new")
    with pytest.raises(LookupError):
        policy.needs(None)


@pytest.mark.parametrize("role", members.ROLES)
def test_a_member_may_what_the_table_says_and_no_more(app: Flask, rt: Runtime, stage: make.Stage, role: str) -> None:
    browser = dashboard.member(app, rt, stage, role)
    rank = members.ROLES.index
    wrong = []
    for rule in rules(app, *members.ROLES):
        status, needed = ask(browser, rule, stage.slug), policy.needs(rule.endpoint)
        if rank(role) < rank(needed):
            wrong += [] if status == 403 else [(rule.endpoint, status)]
        elif status in (401, 403) or status >= 500:
            wrong.append((rule.endpoint, status))
    assert wrong == []


def test_a_member_of_another_workspace_finds_nothing(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    other = make.workspace(rt, local)
    browser = dashboard.member(app, rt, other, "owner")
    assert [(rule.endpoint, status) for rule in rules(app, *members.ROLES) if (status := ask(browser, rule, stage.slug)) != 404] == []


def test_nobody_is_sent_to_sign_in(app: Flask, stage: make.Stage) -> None:
    browser = dashboard.stranger(app, stage)
    for slug in (stage.slug, "no-such-workspace"):
        assert [(rule.endpoint, status) for rule in rules(app, *members.ROLES) if (status := ask(browser, rule, slug)) != 401] == []


def test_a_route_for_holders_of_a_token_gives_nothing_to_others(app: Flask, stage: make.Stage) -> None:
    browser = dashboard.stranger(app, stage)
    answered = {rule.endpoint: ask(browser, rule, stage.slug) for rule in rules(app, policy.TOKEN)}
    # The numbers are for loopback, which a test is; an install that is not under way is none.
    assert answered.pop("health.numbers") == 200
    assert {name: status for name, status in answered.items() if status not in (400, 401, 404, 410)} == {}


def test_a_route_for_keys_answers_a_key_of_that_workspace_and_mode_and_nobody_else(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    other = make.workspace(rt, local)
    with rt.transaction(stage.workspace_id) as session:
        customer, subscription = stage.shapes["monthly"]
        whole = {"workspace_id": stage.workspace_id, "mode": "test", "connection_id": stage.connection_id, "customer": customer}
        waits = {"subscription": subscription, "verb": "cancel", "intent": {}, "now": rt.now(), "state": "requested", "code": "yours"}
        action = actions.ask(session, **whole, **waits)  # type: ignore[arg-type]

    def key(of: make.Stage, mode: Mode, *, is_revoked: bool = False) -> str:
        with rt.transaction(of.workspace_id) as session:
            minted = api_keys.mint(session, of.workspace_id, mode, "A service", now=rt.now(), by="usr_1")
            if is_revoked:
                api_keys.revoke(session, of.workspace_id, minted.id, now=rt.now(), by="usr_1")
        return f"Bearer {minted.value}"

    # (its own action, a list) as each caller is answered; what is theirs comes last, because it changes something.
    callers = {
        "nobody": ("", (401, 401)),
        "an embed secret": (f"Bearer {stage.embed_secret}", (401, 401)),
        "a revoked key": (key(stage, Mode.TEST, is_revoked=True), (401, 401)),
        "another workspace's": (key(other, Mode.TEST), (404, 200)),
        "the other mode's": (key(stage, Mode.LIVE), (404, 200)),
        "its own": (key(stage, Mode.TEST), (200, 200)),
    }
    # Whoever is signed in is nobody here: the browser's cookie goes along with every request.
    browser = dashboard.member(app, rt, stage, "owner")
    for who, (header, (one, every)) in callers.items():
        for rule in rules(app, policy.API_KEY):
            path = re.sub(r"<(?:\w+:)?(\w+)>", action.id, rule.rule)
            method = "POST" if "POST" in (rule.methods or ()) else "GET"
            answer = browser.client.open(path, method=method, headers={"Authorization": header} if header else {})
            expected = one if rule.arguments else every
            assert answer.status_code == (202 if method == "POST" and expected == 200 else expected), (who, rule.endpoint)
            if not rule.arguments and expected == 200:
                assert [row["action"] for row in answer.json["data"]] == ([action.id] if who == "its own" else []), who


@pytest.mark.parametrize("text", ["\0", "a\0b"])
def test_text_that_no_database_holds_is_no_address_and_no_field(app: Flask, rt: Runtime, stage: make.Stage, text: str) -> None:
    browser = dashboard.member(app, rt, stage, "owner")
    admin = [rule for rule in rules(app, *members.ROLES) if rule.endpoint.startswith("admin.")]
    wrong = []
    for rule in admin:
        for spoiled in sorted(rule.arguments):
            values = {name: stage.slug if name == "workspace" else "x" for name in rule.arguments} | {spoiled: text}
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda part, values=values: quote(values[part[1]]), rule.rule)  # type: ignore[misc]
            method = "POST" if "POST" in (rule.methods or ()) else "GET"
            status = browser.client.open(path, method=method, data={"csrf_token": browser.token()}).status_code
            wrong += [] if status == 404 else [(rule.endpoint, spoiled, status)]
        if "POST" in (rule.methods or ()):
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda part: stage.slug if part[1] == "workspace" else "x", rule.rule)
            for fields in ({"subscription": text}, {text: "x"}):
                status = browser.client.post(path, data={"csrf_token": browser.token(), **fields}).status_code
                wrong += [] if status == 400 else [(rule.endpoint, str(fields), status)]
    assert wrong == []


def test_a_form_without_its_token_changes_nothing(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    browser = dashboard.member(app, rt, stage, "owner")
    posts = [rule for rule in rules(app, *members.ROLES) if "POST" in (rule.methods or ())]
    for rule in posts:
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda part: stage.slug if part[1] == "workspace" else "x", rule.rule)
        for token in ({}, {"csrf_token": "made-up"}):
            assert browser.client.post(path, data={"workspace": stage.slug, "mode": "test", **token}).status_code == 400, rule.endpoint
