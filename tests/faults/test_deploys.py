"""A deploy in the middle of a change: the new build sends what the old one froze, though it would say it otherwise itself."""

import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.faults import stage
from tests.faults.campaign import oracle, points
from tests.faults.campaign.ground import Ground, ground, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

# What the new build says besides, in each change that it plans itself.
OTHERWISE = stage.Edit(
    file="connect_app/stripe_gateway/calls/call.py",
    old='return {"metadata": {MARKER: action_id}}',
    new='return {"metadata": {MARKER: action_id, "build": "2"}}',
)


def writes(place: Ground, since: int) -> list[dict[str, Any]]:
    asked = place.place.stripe.control("GET", f"requests?since={since}")
    return [call for call in asked if call["method"] == "POST" and call["path"].startswith("/v1/")]


@pytest.mark.parametrize("fault", ["timeout_after", "reset"])
def test_a_new_build_that_would_say_it_otherwise_sends_unchanged_what_the_old_one_had_begun_to_send(tmp_path: Path, fault: str) -> None:
    with ground(tmp_path, workers=0) as place:
        old = stage.Crew(tree=place.crew.tree, environ=place.crew.environ, folder=place.folder)
        residents = place.place.settle_in(*points.VERBS)
        chosen = dict(zip(residents, points.VERBS, strict=True))
        quiet = len(place.place.stripe.control("GET", "requests"))
        place.place.stripe.control("POST", "faults", {"kind": fault, "method": "POST", "path": "/v1/*"})
        old.start("actions", restart=False)
        for resident, verb in chosen.items():
            place.place.choose(resident, verb)
        try:
            until(lambda: len({call["idempotency_key"] for call in writes(place, quiet)}) == len(chosen), 60, "each change has been begun")
        finally:
            old.dismiss()
        begun = {call["idempotency_key"] for call in writes(place, quiet)}
        place.place.stripe.control("DELETE", "faults")
        tree = stage.copy_tree(tmp_path / "new", (OTHERWISE,))
        (tmp_path / "logs").mkdir()
        new = stage.Crew(tree=tree, environ=place.crew.environ, folder=tmp_path / "logs")
        new.start("actions")
        try:
            place.settle(60)
            findings = oracle.judge(place.place, chosen)
            assert findings.is_clean, str(findings)
            assert findings.states == {"verified": len(chosen)}
            said = defaultdict(list)
            for call in writes(place, quiet):
                said[call["idempotency_key"]].append(call)
            assert all(len({call["form"] for call in calls}) == 1 for calls in said.values())
            assert all(len(said[key]) > 1 for key in begun), "what was begun was not gone on with under its key"
            assert not [call for calls in said.values() for call in calls if call["status"] == 400]
            # The new build does say it otherwise where it plans itself.
            quiet = len(place.place.stripe.control("GET", "requests"))
            [resident] = place.place.settle_in("pause")
            place.place.choose(resident, "pause")
            until(place.is_settled, 60, "the new build's own change is made")
            assert [call["params"]["metadata"]["build"] for call in writes(place, quiet)] == ["2"]
        finally:
            new.dismiss()


def test_an_actions_worker_that_is_told_to_stop_finishes_what_it_has_in_hand(tmp_path: Path) -> None:
    verbs = ("cancel", "discount", "pause")
    with ground(tmp_path, workers=0, lease=60) as place:
        crew = stage.Crew(tree=place.crew.tree, environ=place.crew.environ, folder=tmp_path)
        [worker] = crew.start("actions", restart=False)
        chosen = dict(zip(place.place.settle_in(*verbs), verbs, strict=True))
        place.place.stripe.control("POST", "faults", {"kind": "slow", "seconds": 0.7, "path": "/v1/*"})
        try:
            for resident, verb in chosen.items():
                place.place.choose(resident, verb)
            until(lambda: len(crew.logged("work.claimed")) == len(verbs), 60, "all are in hand")
            worker.process.send_signal(signal.SIGTERM)
            until(lambda: worker.process.poll() is not None, 60, "it has stopped")
        finally:
            crew.dismiss()
        assert [entry["end"] for entry in crew.logged("work.handled")] == ["Done"] * len(verbs)
        findings = oracle.judge(place.place, chosen)
        assert findings.is_clean, str(findings)
        assert findings.states == {"verified": len(verbs)}
