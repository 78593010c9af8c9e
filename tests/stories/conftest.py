"""Stories begin on a day in March, with a business whose customers are mirrored and whose offer is set."""

from collections.abc import Iterator

import pytest
from freezegun import freeze_time

from connect_app.admin import flows
from connect_app.runtime import Runtime
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.stories.diary import BEGIN, Diary


@pytest.fixture
def diary(rt: Runtime, local: LocalStripe) -> Iterator[Diary]:
    with freeze_time(BEGIN, tick=True) as clock:
        stage = make.workspace(rt, local)
        make.read_in(rt)
        with rt.transaction(stage.workspace_id) as session:
            flows.set_offer(session, stage.workspace_id, mode="test", coupon="STAY20", now=rt.now(), by="operator")
        told = len(list(local.world(stage.account, False).all("event")))
        yield Diary(rt=rt, local=local, clock=clock, stage=stage, app=customers.app(rt), begun=told, told=told)
