"""Settings -> API keys: a key is shown once and works from then on, and no longer than until it is revoked."""

import re

import pytest
from flask import Flask
from sqlalchemy import select

from connect_app.models import ApiKey, AuditEntry
from connect_app.runtime import Runtime
from connect_app.workspaces import api_keys
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.http import dashboard
from tests.http.dashboard import Member, said

HERE = "/settings/api-keys"


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    return make.workspace(rt, local)


@pytest.fixture
def owner(app: Flask, rt: Runtime, stage: make.Stage) -> Member:
    return dashboard.member(app, rt, stage, "owner")


def made(owner: Member, name: str = "Billing service", mode: str = "test") -> str:
    answer = owner.post(HERE, name=name, mode=mode)
    assert answer.status_code == 200, said(answer.get_data(as_text=True))
    owner.page = answer.get_data(as_text=True)
    found = re.search(rf"hf_key_{mode}_[0-9a-f]{{64}}", owner.page)
    assert found
    return found[0]


def status(owner: Member, key: str) -> int:
    return owner.client.get("/api/v1/actions", headers={"Authorization": f"Bearer {key}"}).status_code


def test_a_key_is_shown_once_works_and_ends_when_it_is_revoked(owner: Member, rt: Runtime, stage: make.Stage) -> None:
    assert "The API answers nobody in live mode until there is one." in said(owner.get(HERE))
    key = made(owner, "  Billing   <service> ")
    assert "It is not shown again" in said(owner.page)
    page = owner.get(HERE)
    assert key not in page
    assert f"Billing <service> hf_key_test_…{key[-4:]}" in said(page)
    assert "Never" in said(page)
    assert status(owner, key) == 200
    assert "Never" not in said(owner.get(HERE))
    [key_id] = re.findall(r'action="[^"]+/(key_\w+)/revoke"', owner.page)
    assert owner.post(f"{HERE}/{key_id}/revoke").status_code == 303
    assert status(owner, key) == 401
    assert "Billing" not in said(owner.get(HERE)), "what is revoked is listed no longer"
    assert owner.post(f"{HERE}/{key_id}/revoke").status_code == 404
    with rt.transaction(stage.workspace_id) as session:
        told = {row.verb: row for row in session.execute(select(AuditEntry)).scalars()}
        assert session.execute(select(ApiKey.revoked_at)).scalar_one() is not None
    for verb in ("api_key.minted", "api_key.revoked"):
        assert told[verb].target == key_id
        assert told[verb].details == {"mode": "test", "name": "Billing <service>", "last4": key[-4:]}


def test_a_key_without_a_name_or_a_mode_is_not_made(owner: Member, rt: Runtime, stage: make.Stage) -> None:
    for name in ("", "   ", "x" * 61):
        answer = owner.post(HERE, name=name, mode="live")
        assert answer.status_code == 422
        assert 'id="name-live-error"' in answer.get_data(as_text=True)
    assert owner.post(HERE, name="Billing", mode="both").status_code == 422
    with rt.transaction(stage.workspace_id) as session:
        assert session.execute(select(ApiKey)).first() is None


def test_there_are_ten_keys_of_a_mode_at_most(owner: Member) -> None:
    for number in range(api_keys.MOST):
        made(owner, f"Service {number}")
    answer = owner.post(HERE, name="One more", mode="test")
    assert answer.status_code == 303
    assert "There are 10 test keys already" in said(owner.get(HERE))
    made(owner, "Another mode", "live")


def test_what_a_key_has_settled_is_told_of_by_its_name(owner: Member, rt: Runtime, stage: make.Stage) -> None:
    made(owner, "Billing service")
    with rt.transaction(stage.workspace_id) as session:
        key_id = session.execute(select(ApiKey.id)).scalar_one()
        session.add(
            AuditEntry(
                id="log_1",
                workspace_id=stage.workspace_id,
                at=rt.now(),
                actor=key_id,
                verb="action.confirmed",
                target="act_1",
                details={},
            )
        )
    assert "API key Billing service" in said(owner.get("/settings/audit"))


def test_another_workspaces_key_is_not_there_to_be_revoked(
    app: Flask, rt: Runtime, local: LocalStripe, owner: Member, stage: make.Stage
) -> None:
    key = made(owner)
    with rt.transaction(stage.workspace_id) as session:
        key_id = session.execute(select(ApiKey.id)).scalar_one()
    other = dashboard.member(app, rt, make.workspace(rt, local), "owner")
    assert other.post(f"{HERE}/{key_id}/revoke").status_code == 404
    assert status(owner, key) == 200
