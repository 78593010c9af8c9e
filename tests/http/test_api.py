"""The API: whose key sees what, what a confirmation brings about, and every answer as its OpenAPI document has it."""

import hashlib
import json
import re
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
from flask import Flask
from flask.testing import FlaskClient
from freezegun import freeze_time
from sqlalchemy import select, text, update
from werkzeug.test import TestResponse

from connect_app import config, runtime
from connect_app.api import document
from connect_app.api.shapes import State
from connect_app.models import Action, ApiKey, AuditEntry, Connection, Delivery, Receipt, Work
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from connect_app.workspaces import api_keys
from jobs import actions, queues, work
from jobs.outbound import endpoints, messages
from sandbox.stripe import dashboard as stripe_dashboard
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.wire import Request
from tests import make
from tests.http import dashboard

ACTIONS = "/api/v1/actions"
PAUSED_UNTIL = 1_900_000_000


def key_of(rt: Runtime, stage: make.Stage, mode: str | None = None) -> str:
    with rt.transaction(stage.workspace_id) as session:
        return api_keys.mint(session, stage.workspace_id, Mode(mode or stage.mode), "Billing", now=rt.now(), by="usr_1").value


class Caller:
    """A back end with a key, which holds every answer it gets to the document."""

    def __init__(self, app: Flask, key: str | None) -> None:
        self.client: FlaskClient = app.test_client()
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.seen: set[tuple[str, str, str]] = set()

    def ask(self, path: str = ACTIONS, method: str = "GET", **asked: Any) -> TestResponse:
        answer = self.client.open(path, method=method, headers=self.headers, query_string=asked)
        self.seen.add(hold(answer, method, path))
        return answer

    def get(self, path: str = ACTIONS, **asked: Any) -> Any:
        answer = self.ask(path, **asked)
        assert answer.status_code == 200, answer.text
        return answer.json

    def ids(self, **asked: Any) -> list[str]:
        return [one["action"] for one in self.get(**asked)["data"]]

    def confirm(self, action_id: str, status: int = 202) -> Any:
        answer = self.ask(f"{ACTIONS}/{action_id}/confirm", "POST")
        assert answer.status_code == status, answer.text
        return answer.json


def hold(answer: TestResponse, method: str, path: str) -> tuple[str, str, str]:
    """The answer is one that the document knows, by its status, its shape and its headers; gives (path, method, status) as it has them."""
    described = document.openapi("http://127.0.0.1:8000")
    template = next(known for known in described["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", known), path))
    responses = described["paths"][template][method.lower()]["responses"]
    said = responses[str(answer.status_code)]
    if "$ref" in said:
        said = described["components"]["responses"][said["$ref"].rpartition("/")[2]]
    schema = {**said["content"]["application/json"]["schema"], "components": described["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json)
    assert answer.mimetype == "application/json"
    assert set(said.get("headers", {})) <= set(answer.headers.keys())
    assert "Set-Cookie" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers
    return template, method.lower(), str(answer.status_code)


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    """Connected, and not read in: a confirmation asks Stripe, and nothing else."""
    return make.workspace(rt, local)


@pytest.fixture
def caller(app: Flask, rt: Runtime, stage: make.Stage) -> Caller:
    return Caller(app, key_of(rt, stage))


def asked(rt: Runtime, stage: make.Stage, shape: str = "monthly", verb: str = "cancel", **values: Any) -> Action:
    """What is left to the business's own system."""
    customer, subscription = stage.shapes[shape]
    usual: dict[str, Any] = {
        "workspace_id": stage.workspace_id,
        "mode": stage.mode,
        "connection_id": stage.connection_id,
        "customer": customer,
        "subscription": subscription,
        "verb": verb,
        "intent": {"when": "period_end", "invoice_now": False, "prorate": False, "open_invoices": "keep"},
        "now": rt.now(),
        "state": "requested",
        "code": "yours",
    }
    with rt.transaction(stage.workspace_id) as session:
        return actions.ask(session, **{**usual, **values})


def rows(rt: Runtime, stage: make.Stage, table: Any) -> list[Any]:
    with rt.transaction(stage.workspace_id) as session:
        return list(session.execute(select(table)).scalars())


def put(rt: Runtime, stage: make.Stage, action: Action, **values: Any) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(Action).where(Action.id == action.id).values(**values))


def looks(local: LocalStripe) -> int:
    """How often Stripe was read for a subscription."""
    return sum(row["method"] == "GET" and row["path"].startswith("/v1/subscriptions/sub") for row in local.requests)


def works(rt: Runtime) -> None:
    """What the workers would do within seconds: a look may have to wait for its place in the account's queue of requests."""
    work.drain(rt, queues.ACTIONS)
    with freeze_time(rt.now() + timedelta(seconds=2), tick=True):
        work.drain(rt, queues.ACTIONS)


# Whose key sees what.


def test_a_key_sees_its_own_workspace_and_mode_and_nothing_else(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    other = make.workspace(rt, local)
    mine = asked(rt, stage)
    theirs = asked(rt, stage, connection_id=None, workspace_id=stage.workspace_id, mode="live", shape="yearly", code="not_connected")
    callers = {
        "own": Caller(app, key_of(rt, stage)),
        "live": Caller(app, key_of(rt, stage, "live")),
        "foreign": Caller(app, key_of(rt, other)),
    }
    assert {who: caller.ids() for who, caller in callers.items()} == {"own": [mine.id], "live": [theirs.id], "foreign": []}
    for who, action in (("live", mine), ("foreign", mine), ("own", theirs), ("foreign", theirs)):
        assert callers[who].ask(f"{ACTIONS}/{action.id}").status_code == 404, who
        assert callers[who].confirm(action.id, 404)["error"]["code"] == "not_found", who
        assert callers[who].ask(starting_after=action.id).status_code == 404, who
        assert callers[who].ids(session="ses_1", subscription=action.subscription) == []
    assert [one.confirmation for one in rows(rt, stage, Action)] == [None, None]
    assert callers["own"].get(f"{ACTIONS}/{mine.id}")["livemode"] is False


def test_who_has_no_key_that_works_is_told_what_to_send(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    action, key = asked(rt, stage), key_of(rt, stage)
    owner = dashboard.member(app, rt, stage, "owner")
    wrong: dict[str, str] = {
        "": "api_key_missing",
        "Bearer": "api_key_missing",
        f"Basic {key}": "api_key_missing",
        key: "api_key_missing",
        f"Bearer {key[:-1]}": "api_key_invalid",
        f"Bearer {key.upper()}": "api_key_invalid",
        f"Bearer hf_key_test_{'0' * 64}": "api_key_invalid",
        f"Bearer {hashlib.sha256(key.encode()).hexdigest()}": "api_key_invalid",
        f"Bearer {stage.embed_secret}": "api_key_invalid",
        "Bearer \x80": "api_key_invalid",
    }
    for header, code in wrong.items():
        for path, method in ((ACTIONS, "GET"), (f"{ACTIONS}/{action.id}", "GET"), (f"{ACTIONS}/{action.id}/confirm", "POST")):
            headers = {"Authorization": header} if header else {}
            answer = owner.client.open(path, method=method, headers=headers)
            hold(answer, method, path)
            assert (answer.status_code, answer.json["error"]["code"]) == (401, code), (header, path)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert app.test_client().open(ACTIONS, method="OPTIONS").status_code == 401
    assert Caller(app, key).ids() == [action.id]


def test_a_revoked_key_is_refused_from_that_moment(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    kept, ended = key_of(rt, stage), key_of(rt, stage)
    caller = Caller(app, ended)
    assert caller.ids() == []
    newest = max(rows(rt, stage, ApiKey), key=lambda row: row.id)
    with rt.transaction(stage.workspace_id) as session:
        api_keys.revoke(session, stage.workspace_id, newest.id, now=rt.now(), by="usr_1")
    assert caller.ask().json["error"]["code"] == "api_key_invalid"
    assert Caller(app, kept).ask().status_code == 200
    # Even if its hash were still there.
    with rt.transaction(stage.workspace_id) as session:
        digest = hashlib.sha256(ended.encode()).digest()
        put_back = "insert into api_key_lookups (digest, key_id, workspace_id) values (:digest, :key, :workspace)"
        session.execute(text(put_back), {"digest": digest, "key": newest.id, "workspace": stage.workspace_id})
    assert caller.ask().status_code == 401


def test_a_key_is_kept_as_a_hash_alone_and_told_of_once_a_minute(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    key = key_of(rt, stage)
    caller, began = Caller(app, key), rt.now()
    used = []
    for seconds in (0, 30, 59, 61, 100):
        with freeze_time(began + timedelta(seconds=seconds)):
            caller.get()
            used.append((rows(rt, stage, ApiKey)[0].last_used_at - began).total_seconds())
    assert used == [0, 0, 0, 61, 61]
    with rt.transaction(stage.workspace_id) as session:
        tables = session.execute(text("select table_name from information_schema.tables where table_schema = 'public'")).scalars().all()
        everything = "".join(
            session.execute(text(f"select coalesce(string_agg(\"{name}\"::text, ''), '') from \"{name}\"")).scalar_one()  # noqa: S608
            for name in tables
        )
    assert hashlib.sha256(key.encode()).hexdigest() in everything, "the lookup's hash, as PostgreSQL writes bytes"
    assert key not in everything
    assert key.encode().hex() not in everything
    assert key.rpartition("_")[2] not in everything


def test_too_many_questions_are_answered_with_how_long_to_wait(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    app.config["HOLDFAST_LIMITS"].update(api_key="2 per hour", api_refusals="2 per hour")
    callers = [Caller(app, key_of(rt, stage)) for _ in range(2)]
    assert [callers[0].ask().status_code for _ in range(3)] == [200, 200, 429]
    assert callers[0].ask().json["error"]["type"] == "rate_limit_error"
    assert callers[1].ask().status_code == 200, "another key has a count of its own"
    assert [Caller(app, None).ask().status_code for _ in range(3)] == [401, 401, 429]
    assert callers[1].ask().status_code == 200, "whoever is refused takes nothing from those who are not"


# The list.


def test_the_list_is_narrowed_down_and_gone_through(caller: Caller, rt: Runtime, stage: make.Stage) -> None:
    made = [asked(rt, stage, shape) for shape in ("monthly", "yearly", "trialing", "past_due", "multi_item")]
    put(rt, stage, made[1], state="failed", code="closed_by_team")
    newest = [one.id for one in reversed(made)]
    assert caller.ids() == newest
    assert caller.ids(state="failed") == [made[1].id]
    assert caller.ids(state="requested") == [id for id in newest if id != made[1].id]
    assert caller.ids(subscription=made[2].subscription) == [made[2].id]
    assert caller.ids(session="ses_nobodys") == []
    through: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = caller.get(limit=2, state="requested", **after)
        through += [one["action"] for one in page["data"]]
        if not page["has_more"]:
            break
        after = {"starting_after": through[-1]}
    assert through == caller.ids(state="requested")
    assert caller.get(limit=4, state="requested")["has_more"] is False


def test_an_actions_session_is_a_way_to_find_it(caller: Caller, rt: Runtime, stage: make.Stage) -> None:
    asked(rt, stage)
    mine = asked(rt, stage, "yearly")
    put(rt, stage, mine, session_id="ses_1")
    assert caller.ids(session="ses_1") == [mine.id]


def test_a_wrong_parameter_is_named(caller: Caller) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"state": "done"}, "state"), ({"state": ""}, "state"),
        ({"limit": "0"}, "limit"), ({"limit": "101"}, "limit"), ({"limit": "x"}, "limit"),
        ({"session": "a\0b"}, "session"), ({"subscription": "s" * 300}, "subscription"), ({"starting_after": "é"}, "starting_after"),
        ({"status": "requested"}, "status"), ({"state": ["requested", "manual"]}, "state"), ({"\0": "1"}, "\0"),
    ]  # fmt: skip
    for asked_for, param in wrong:
        answer = caller.ask(**asked_for)
        assert (answer.status_code, answer.json["error"]["param"]) == (400, param)


def test_an_id_that_nobody_could_have_is_not_there(caller: Caller) -> None:
    for id in ("nobody", "%00", "%C3%A9", "a" * 400):
        assert caller.ask(f"{ACTIONS}/{id}").status_code == 404, id
        caller.confirm(id, 404)


def test_an_action_is_told_as_its_webhook_tells_it(caller: Caller, rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        whole: dict[str, Any] = {"kind": "webhook", "url": "https://shop.example/hooks", "topics": ["action.requested"]}
        endpoints.add(session, stage.workspace_id, Mode.TEST, **whole, ring=rt.ring, now=rt.now(), by="usr_1")
    action = asked(rt, stage, verb="pause", intent={"resumes_at": "2027-01-31T00:00:00+00:00", "offer_id": "off_1"})
    [told] = [one.payload for one in rows(rt, stage, Delivery) if one.kind == "webhook"]
    said = caller.get(f"{ACTIONS}/{action.id}")
    assert said.pop("confirmation") is None
    assert said == json.loads(told["body"])["data"]


# Confirming.


def test_only_what_stripe_shows_is_verified(caller: Caller, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    action = asked(rt, stage)
    before = looks(local)
    said = caller.confirm(action.id)
    assert (said["state"], said["confirmation"]["found"], looks(local)) == ("requested", None, before), "no view calls Stripe"
    works(rt)
    assert looks(local) == before + 1
    said = caller.get(f"{ACTIONS}/{action.id}")
    assert (said["state"], said["confirmation"]["found"]) == ("requested", "not_shown")
    assert "cancel the subscription at the end of its period" in said["confirmation"]["message"]
    assert (said["confirmation"]["seen"]["status"], said["confirmation"]["seen"]["cancel_at_period_end"]) == ("active", False)
    assert rows(rt, stage, Receipt) == []
    stripe_dashboard.change(local, action.subscription, {"cancel_at_period_end": True})
    asked_at = caller.confirm(action.id)["confirmation"]
    assert (asked_at["found"], asked_at["message"], asked_at["seen"]) == (None, None, None), "each call has a look of its own"
    works(rt)
    said = caller.get(f"{ACTIONS}/{action.id}")
    assert (said["state"], said["code"], said["confirmation"]["found"]) == ("verified", None, "shown")
    assert said["confirmation"]["seen"]["cancel_at_period_end"] is True
    [receipt] = rows(rt, stage, Receipt)
    assert receipt.after["cancel_at_period_end"] is True
    made_by = {entry.verb: entry.actor for entry in rows(rt, stage, AuditEntry)}
    assert made_by["action.confirmed"] == rows(rt, stage, ApiKey)[0].id
    count = looks(local)
    assert caller.confirm(action.id, 200) == said
    works(rt)
    assert looks(local) == count, "what is verified needs no second look"
    assert not [one for one in local.effects if one["source"] == "api"], "we wrote nothing"


def test_the_team_reads_beside_a_request_what_came_of_the_last_confirmation(
    app: Flask, caller: Caller, rt: Runtime, stage: make.Stage
) -> None:
    action, owner = asked(rt, stage), dashboard.member(app, rt, stage)
    page = "/queue?show=yours"
    assert "Said to be done" not in dashboard.said(owner.get(page))
    caller.confirm(action.id)
    assert "Stripe is being read." in dashboard.said(owner.get(page))
    works(rt)
    assert caller.get(f"{ACTIONS}/{action.id}")["confirmation"]["message"] in dashboard.said(owner.get(page))


def test_a_confirmation_is_for_what_waits_and_for_nothing_else(caller: Caller, rt: Runtime, stage: make.Stage) -> None:
    action = asked(rt, stage)
    for state in ("queued", "prechecked", "applied"):
        put(rt, stage, action, state=state)
        assert caller.confirm(action.id, 409)["error"]["code"] == "action_under_way"
    put(rt, stage, action, state="failed", code="closed_by_team")
    answer = caller.confirm(action.id, 409)["error"]
    assert (answer["code"], "closed_by_team" in answer["message"]) == ("action_failed", True)
    put(rt, stage, action, state="manual", code="coupon_gone")
    assert caller.confirm(action.id)["state"] == "manual"


def test_without_an_account_there_is_nothing_to_read(caller: Caller, rt: Runtime, stage: make.Stage) -> None:
    action = asked(rt, stage)
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(Connection).values(state="disconnected"))
    assert caller.confirm(action.id, 409)["error"]["code"] == "not_connected"
    assert rows(rt, stage, Action)[0].confirmation is None


def test_an_account_that_is_lost_before_the_look_is_told_and_not_waited_for(
    caller: Caller, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    action = asked(rt, stage)
    caller.confirm(action.id)
    ask = Request(method="POST", path="/_sandbox/deauthorize", query="", headers={}, body=json.dumps({"account": stage.account}).encode())
    local.answer(ask)
    works(rt)
    told = caller.get(f"{ACTIONS}/{action.id}")
    assert (told["state"], told["confirmation"]["found"]) == ("requested", "unreadable")
    assert "connected" in told["confirmation"]["message"]


def test_what_stripe_does_not_know_or_has_of_somebody_else_is_said(caller: Caller, rt: Runtime, stage: make.Stage) -> None:
    unknown = asked(rt, stage, subscription="sub_nobodys", code="unknown_subscription")
    unnamed = asked(rt, stage, subscription="", code="unknown_subscription")
    foreign = asked(rt, stage, "yearly", customer=stage.shapes["monthly"][0])
    for action in (unknown, unnamed, foreign):
        caller.confirm(action.id)
    works(rt)
    said = {action.id: caller.get(f"{ACTIONS}/{action.id}")["confirmation"] for action in (unknown, unnamed, foreign)}
    assert {one["found"] for one in said.values()} == {"not_shown"}
    assert "sub_nobodys" in said[unknown.id]["message"]
    assert said[foreign.id]["message"].startswith("The subscription belongs to")
    assert said[foreign.id]["seen"] is None, "nothing of another customer's subscription is told"


def test_a_stripe_that_does_not_answer_is_asked_again_and_not_for_ever(
    caller: Caller, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    action = asked(rt, stage)
    fault = {"method": "GET", "path": "/v1/subscriptions/*", "kind": "500", "rate": 1}
    local.answer(Request(method="POST", path="/_sandbox/faults", query="", headers={}, body=json.dumps(fault).encode()))
    caller.confirm(action.id)
    works(rt)
    assert caller.get(f"{ACTIONS}/{action.id}")["confirmation"]["found"] is None
    with rt.transaction() as session:
        last = queues.KINDS["prove"].attempts - 1
        session.execute(update(Work).where(Work.kind == "prove").values(attempts=last, due_at=rt.now()))
    works(rt)
    told = caller.get(f"{ACTIONS}/{action.id}")
    assert (told["state"], told["confirmation"]["found"]) == ("requested", "unreadable")
    assert "an hour" in told["confirmation"]["message"]
    local.answer(Request(method="DELETE", path="/_sandbox/faults", query="", headers={}, body=b""))
    stripe_dashboard.change(local, action.subscription, {"cancel_at_period_end": True})
    caller.confirm(action.id)
    works(rt)
    assert caller.get(f"{ACTIONS}/{action.id}")["state"] == "verified"


def test_what_was_asked_before_the_account_was_connected_is_read_in_it(
    caller: Caller, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    action = asked(rt, stage, connection_id=None, code="not_connected")
    stripe_dashboard.change(local, action.subscription, {"cancel_at_period_end": True})
    caller.confirm(action.id)
    works(rt)
    [kept] = rows(rt, stage, Action)
    assert (kept.state, kept.connection_id) == ("verified", stage.connection_id)


def test_what_moved_on_before_the_look_says_so(caller: Caller, rt: Runtime, stage: make.Stage) -> None:
    ended, settled = asked(rt, stage), asked(rt, stage, "yearly")
    for action in (ended, settled):
        caller.confirm(action.id)
    put(rt, stage, ended, state="failed", code="closed_by_team")
    put(rt, stage, settled, state="verified", code=None)
    works(rt)
    assert caller.get(f"{ACTIONS}/{ended.id}")["confirmation"]["found"] == "moved_on"
    assert caller.get(f"{ACTIONS}/{settled.id}")["confirmation"]["found"] == "shown"


# The document.


def test_every_operation_is_described_and_every_description_is_an_operation(app: Flask) -> None:
    described = document.openapi("http://127.0.0.1:8000")
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = {(path, verb) for path, verbs in described["paths"].items() for verb in verbs if verb != "parameters"}
    assert told == routes
    served = app.test_client().get("/api/v1/openapi.json")
    assert served.json == described
    assert set(described["components"]["schemas"]["Action"]["properties"]) - {"confirmation"} == set(messages.Action.model_fields)
    assert described["components"]["schemas"]["Action"]["properties"]["state"]["enum"] == list(State.__args__)  # type: ignore[attr-defined]


def test_every_answer_that_is_described_is_given_as_described(
    app: Flask, caller: Caller, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    action = asked(rt, stage)
    one, confirm, itself = f"{ACTIONS}/{action.id}", f"{ACTIONS}/{action.id}/confirm", "/api/v1/openapi.json"
    paths = {ACTIONS: "GET", one: "GET", confirm: "POST"}
    nobody = Caller(app, None)
    away = runtime.open_runtime(config.load(make.environ(local)))
    lost = Caller(dashboard.app(away), caller.headers["Authorization"].partition(" ")[2])
    for path, method in paths.items():
        assert lost.ask(path, method).status_code == 503
        runtime.use(rt)
        caller.ask(path, method)
        nobody.ask(path, method)
        caller.ask(path.replace(action.id, "act_nobodys"), method, **({"starting_after": "act_nobodys"} if path == ACTIONS else {}))
        runtime.use(away)
    away.close()
    runtime.use(rt)
    caller.ask(limit=0)
    caller.ask(itself)
    put(rt, stage, action, state="queued")
    caller.confirm(action.id, 409)
    put(rt, stage, action, state="verified")
    caller.confirm(action.id, 200)
    put(rt, stage, action, confirmation={"this": "is not what we write"})
    for path, method in paths.items():
        assert caller.ask(path, method).status_code == 500
    app.config["HOLDFAST_LIMITS"].update(api_key="1 per hour", api_address="1 per hour")
    for path, method in {**paths, itself: "GET"}.items():
        caller.ask(path, method)
        assert caller.ask(path, method).status_code == 429
    described = document.openapi("http://127.0.0.1:8000")["paths"]
    told = {
        (path, verb, status)
        for path, verbs in described.items()
        for verb, operation in verbs.items()
        if verb != "parameters"
        for status in operation["responses"]
    }
    assert caller.seen | nobody.seen | lost.seen == told


def test_every_example_is_valid_and_every_code_is_explained(app: Flask) -> None:
    described = document.openapi("http://127.0.0.1:8000")
    contents = [
        said["content"]["application/json"]
        for verbs in described["paths"].values()
        for verb, operation in verbs.items()
        if verb != "parameters"
        for said in operation["responses"].values()
        if "content" in said
    ] + [said["content"]["application/json"] for said in described["components"]["responses"].values()]
    examples = [
        (content["schema"], example)
        for content in contents
        for example in [
            *(one["value"] for one in content.get("examples", {}).values()),
            *([content["example"]] if "example" in content else []),
        ]
    ]
    assert len(examples) == 13
    for schema, example in examples:
        jsonschema.Draft202012Validator({**schema, "components": described["components"]}).validate(example)
    page = app.test_client().get("/docs/api").get_data(as_text=True)
    errors = app.test_client().get("/docs/errors").get_data(as_text=True)
    for operation in document.operations(described):
        assert f'id="{operation.id}"' in page
    for code in {said["content"]["application/json"]["example"]["error"]["code"] for said in described["components"]["responses"].values()}:
        assert f'id="{code}"' in errors
