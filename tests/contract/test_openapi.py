"""Our OpenAPI document, by a stranger who has nothing else to go by: whatever it allows to be asked is answered as it says."""

from collections import Counter
from typing import Any

import pytest
import schemathesis
from flask import Flask
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events

from connect_app.models import Action
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from connect_app.workspaces import api_keys
from jobs import actions
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.http import dashboard

LISTING, ONE, CONFIRM = "GET /api/v1/actions", "GET /api/v1/actions/{action_id}", "POST /api/v1/actions/{action_id}/confirm"
EXAMPLES = 50
# What the fuzzer sends beside the operations: methods that nobody has described.
UNDESCRIBED = 405


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    return make.workspace(rt, local)


@pytest.fixture
def app(rt: Runtime) -> Flask:
    app = dashboard.app(rt)
    app.config["HOLDFAST_LIMITS"].update(dict.fromkeys(("api_key", "api_address", "api_refusals"), "100000 per hour"))
    return app


def left_to_them(rt: Runtime, stage: make.Stage) -> Action:
    """A cancel that the business's own system is to make."""
    customer, subscription = stage.shapes["monthly"]
    with rt.transaction(stage.workspace_id) as session:
        return actions.ask(
            session, workspace_id=stage.workspace_id, mode=stage.mode, connection_id=stage.connection_id, customer=customer,
            subscription=subscription, verb="cancel", intent={"when": "period_end"}, now=rt.now(), state="requested", code="yours",
        )  # fmt: skip


def key(rt: Runtime, stage: make.Stage) -> str:
    with rt.transaction(stage.workspace_id) as session:
        return api_keys.mint(session, stage.workspace_id, Mode(stage.mode), "Billing", now=rt.now(), by="usr_1").value


def ask_everything(app: Flask, bearer: str | None, **known: str) -> tuple[list[str], dict[str, Counter[int]]]:
    """All phases of the fuzzer on every operation: what is wrong with the answers, and their statuses by operation.

    `known` are path parameters that have this value, in the place of invented ones.
    """
    told: dict[str, Any] = {
        "seed": 7,
        "headers": {} if bearer is None else {"Authorization": f"Bearer {bearer}"},
        "parameters": known,
        "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
        # It sends the same without its key, which it cannot do to an application in its own process. There is a test below for that.
        "checks": {"ignored_auth": {"enabled": False}},
    }
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app, config=SchemathesisConfig.from_dict(told))
    wrong: list[str] = []
    seen: dict[str, Counter[int]] = {}
    for event in engine.from_schema(schema).execute():
        match event:
            case events.NonFatalError():
                wrong.append(f"{event.label}: {event.value}")
            case events.FatalError():
                wrong.append(str(event.exception))
            case events.ScenarioFinished():
                for id, interaction in event.recorder.interactions.items():
                    assert interaction.response is not None
                    seen.setdefault(str(event.label), Counter())[interaction.response.status_code] += 1
                    for check in event.recorder.checks.get(id, ()):
                        if check.failure_info is not None:
                            asked = f"{interaction.request.method} {interaction.request.uri}"
                            wrong.append(f"{check.name}, {asked}: {check.failure_info.failure.message}")
    return wrong, seen


def test_whatever_is_asked_with_a_key_is_answered_as_described(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    left_to_them(rt, stage)
    wrong, seen = ask_everything(app, key(rt, stage))
    assert wrong == []
    assert set(seen) == {LISTING, ONE, CONFIRM}
    assert set(seen[LISTING]) >= {200, 400, 404}
    assert 404 in set(seen[ONE]) & set(seen[CONFIRM])
    assert all(found.total() >= EXAMPLES for found in seen.values())


def test_whatever_is_asked_about_an_action_that_is_there_is_answered_as_described(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    wrong, seen = ask_everything(app, key(rt, stage), action_id=left_to_them(rt, stage).id)
    assert wrong == []
    assert (200 in seen[ONE], 202 in seen[CONFIRM]) == (True, True)


@pytest.mark.parametrize("bearer", [None, f"hf_key_test_{'0' * 64}"])
def test_without_a_key_that_works_nothing_is_answered_but_that(app: Flask, rt: Runtime, stage: make.Stage, bearer: str | None) -> None:
    left_to_them(rt, stage)
    wrong, seen = ask_everything(app, bearer)
    assert wrong == []
    assert {operation: set(found) - {UNDESCRIBED} for operation, found in seen.items()} == {each: {401} for each in (LISTING, ONE, CONFIRM)}
    assert all(found.total() >= EXAMPLES for found in seen.values())
