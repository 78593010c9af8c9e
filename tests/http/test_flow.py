"""The flow from the customer's side: pages that are true for them, one choice, and no *done* before Stripe has shown it."""

import pytest
from flask import Flask

from connect_app.runtime import Runtime
from sandbox.stripe.local import LocalStripe
from tests import customers, make


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local, origins=(customers.ORIGIN,))
    make.read_in(rt)
    return staged


@pytest.fixture
def app(rt: Runtime) -> Flask:
    return customers.app(rt)


def test_a_customer_cancels_and_is_told_so_only_once_stripe_has_shown_it(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    browser = customers.handed_over(app, stage, "monthly", return_url=f"{customers.ORIGIN}/account").look()
    assert browser.status == 200
    browser.press("answer", reason="unused", comment="I moved")
    assert "Cancel " in browser.page
    browser.press("confirm")
    assert "We are on it" in browser.page
    assert browser.response.headers["Refresh"]
    customers.drain(rt)
    browser.look()
    assert "is canceled" in browser.page
    assert f'href="{customers.ORIGIN}/account"' in browser.page
    browser.press("undo")
    customers.drain(rt)
    browser.look()
    assert "continues" in browser.page
