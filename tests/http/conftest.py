"""What most tests of the pages stand on; a file that needs another stage or another application says so itself."""

import pytest
from flask import Flask

from connect_app.runtime import Runtime
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.http import dashboard


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    """A workspace whose account has been read in."""
    staged = make.workspace(rt, local, origins=(customers.ORIGIN,))
    make.read_in(rt)
    return staged


@pytest.fixture
def app(rt: Runtime) -> Flask:
    """The whole application, without the webhook door."""
    return dashboard.app(rt)
