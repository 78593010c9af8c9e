"""Bugs that the campaigns are shown to catch, each planted in a copy of the tree."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults import stage
from tests.faults.campaign import points, storming
from tests.faults.campaign.ground import ground
from tests.faults.stage import Edit

# What a bug did where it was caught; nothing where it was not.
Catch = Callable[[Path, tuple[Edit, ...]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """What is planted, who catches it, in words too."""

    edits: tuple[Edit, ...]
    catcher: str
    catch: Catch


def _point(name: str, patience: float = points.PATIENCE) -> Catch:
    def catch(folder: Path, edits: tuple[Edit, ...]) -> str:
        with ground(folder, edits) as place:
            tally = points.strike_once(place, name, patience)
        return "" if tally.is_clean else str(tally.findings)

    return catch


def _storm(symptom: str, scale: storming.Scale) -> Catch:
    def catch(folder: Path, edits: tuple[Edit, ...]) -> str:
        with ground(folder, edits) as place:
            verdict = storming.rage(place, scale)
        wrong = verdict.overlaps if symptom == "overlaps" else getattr(verdict.findings, symptom)
        return f"{symptom}: {len(wrong)} of {scale.people}" if wrong else ""

    return catch


def _woken(folder: Path, edits: tuple[Edit, ...]) -> str:
    with ground(folder, edits, workers=0) as place:
        before, after, _ = points.wake_early(place)
    return "" if before == after else f"{before} became {after}"


def _forgotten(folder: Path, edits: tuple[Edit, ...]) -> str:
    with ground(folder, edits) as place:
        tally = points.a_day_later(place)
    return "" if tally.findings.is_clean else str(tally.findings)


def _test(name: str) -> Catch:
    """One of the ordinary tests, over a tree with the bug: for what no worker has a hand in."""

    def catch(folder: Path, edits: tuple[Edit, ...]) -> str:
        tree = stage.copy_tree(folder / "tree", edits)
        shutil.copytree(stage.ROOT / "tests", tree / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        for each in ("pyproject.toml", "docs", "README.md", "Procfile"):
            source = stage.ROOT / each
            (shutil.copytree if source.is_dir() else shutil.copy)(source, tree / each)
        environ = {**os.environ, "PYTHONPATH": str(tree)}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", name]
        done = subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, timeout=300, check=False)
        # 1: a test failed. Anything else is no verdict on the bug.
        return next((line for line in done.stdout.splitlines() if line.startswith("FAILED")), "") if done.returncode == 1 else ""

    return catch


_CALM = storming.Scale(people=30, seconds=4, kill_every=1e9, flush_every=1e9, shoot_every=1e9, patience=25, verbs=("discount",))
_FEW = replace(_CALM, people=6, seconds=1, faults=(), deaths=("none",), patience=30)
_STRIPE = "tests/service/test_faults_stripe.py"
_SETTLEMENT = "jobs/actions/settlement.py"
_TOLD = "    telling.action(session, action, now)\n"
_FACT = '    ledger.record(session, action, "action.verified", now)\n'
_KEY = 'read = self.ask("write", lambda: stripe.write(sent, idempotency_key=key), key)'
_COURSE = "jobs/actions/course.py"
_DONE = "            self.verified(settlement.before(self.action) or read.value, read)\n        self.talk.doubt"
_RECOGNISING = "        read = seen.read\n        if plans.proves(self.wish, seen.situation, sent):\n"
_NOT_REPLAYED = "                if not failure.replayed:\n                    raise\n"

BUGS = {
    "no idempotency key": Bug(
        catcher="F2",
        catch=_point("F2"),
        edits=(
            Edit(
                file="connect_app/stripe_gateway/account.py",
                old='key = idempotency_key if how.method == "post" else None',
                new="key = None",
            ),
        ),
    ),
    "a new key for every try": Bug(
        catcher="F2",
        catch=_point("F2"),
        edits=(
            Edit(file=_COURSE, old=_KEY, new=_KEY.replace("=key)", '=f"{key}{time.time_ns()}")')),
            Edit(file=_COURSE, old="import structlog\n", new="import time\n\nimport structlog\n"),
        ),
    ),
    "no lease": Bug(
        catcher="campaign 1, Stripe slow",
        catch=_storm("overlaps", replace(_CALM, people=8, seconds=8, kill_every=0.4, faults=(("slow", 1.0),), deaths=("any",))),
        edits=(
            Edit(
                file="jobs/work.py",
                old='                " and (lease_until is null or lease_until < clock_timestamp())"\n                " returning',
                new='                " returning',
            ),
        ),
    ),
    "a lease that never ends": Bug(
        catcher="F1",
        catch=_point("F1", 20),
        edits=(Edit(file="jobs/work.py", old="make_interval(secs => :lease)", new="make_interval(secs => 1000 * :lease)"),),
    ),
    "no fence": Bug(
        catcher="F7, woken early",
        catch=_woken,
        edits=(
            Edit(
                file="jobs/work.py",
                old="select 1 from work where id = :id and lease_token = :mine for update",
                new="select 1 from work where id = :id and :mine = :mine for update",
            ),
        ),
    ),
    "no sweep": Bug(
        catcher="F1",
        catch=_point("F1", 20),
        edits=(Edit(file="jobs/sweep.py", old="            tick(rt, queue)\n", new=""),),
    ),
    "sent again, however old the key": Bug(
        catcher="F23, a day later",
        catch=_forgotten,
        edits=(
            Edit(file=_COURSE, old="_KEY_LIFE = timedelta(hours=23)", new="_KEY_LIFE = timedelta(days=23)"),
            Edit(file=_COURSE, old="_FRESH = timedelta(minutes=1)", new="_FRESH = timedelta(days=23)"),
        ),
    ),
    "planned anew at every try, without recognising one's own": Bug(
        catcher="F2",
        catch=_point("F2"),
        edits=(
            Edit(
                file=_COURSE,
                old="            self._steps()\n",
                new=(
                    '            if self.action.state == "prechecked":\n                self._plan(self._look("precheck"))\n'
                    "            self._steps()\n"
                ),
            ),
            Edit(file=_COURSE, old=_RECOGNISING, new=f"        return\n{_RECOGNISING}"),
        ),
    ),
    "an error saved under a key is asked for again, for ever": Bug(
        catcher="campaign 1, 500",
        catch=_storm("stuck", replace(_CALM, struck="POST", faults=(("500", 0.3),))),
        edits=(Edit(file=_COURSE, old=_NOT_REPLAYED, new="                if failure:\n                    raise\n"),),
    ),
    "no answer is taken for done, and not read back": Bug(
        catcher="campaign 1, reset",
        catch=_storm("lost", replace(_CALM, struck="POST", faults=(("reset", 0.3),))),
        edits=(
            Edit(
                file=_COURSE,
                old=_NOT_REPLAYED,
                new=(
                    "                if not failure.replayed:\n"
                    "                    request_id, made = None, call.target\n"
                    "                    ids.append(made)\n"
                    "                    continue\n"
                ),
            ),
            Edit(
                file=_COURSE,
                old=f"        if not sent or plans.proves(self.wish, seen.situation, sent):\n{_DONE}",
                new=f"        if True:\n{_DONE}",
            ),
        ),
    ),
    "a change is told twice": Bug(
        catcher="campaign 1, calm",
        catch=_storm("misinformed", _FEW),
        edits=(Edit(file=_SETTLEMENT, old=f"{_TOLD}    pauses.began", new=f"{_TOLD}{_TOLD}    pauses.began"),),
    ),
    "a change is a fact twice": Bug(
        catcher="campaign 1, calm",
        catch=_storm("misreported", _FEW),
        edits=(Edit(file=_SETTLEMENT, old=_FACT, new=_FACT + _FACT),),
    ),
    "a message counts as delivered without being sent": Bug(
        catcher="campaign 1, calm",
        catch=_storm("misinformed", _FEW),
        edits=(
            Edit(
                file="jobs/outbound/sending.py",
                old="        outcome = _try(rt, guard, endpoint, delivery)\n",
                new="        outcome = Outcome(status=204, problem=None)\n",
            ),
        ),
    ),
    "what is read back is not mirrored": Bug(
        catcher="campaign 1, calm",
        catch=_storm("unlike", _FEW),
        edits=(Edit(file=_SETTLEMENT, old="    mirrored(session, action, read)\n    ledger", new="    ledger"),),
    ),
    "each action of an account slows down for itself": Bug(
        catcher="a test of six actions",
        catch=_test(f"{_STRIPE}::test_an_account_that_is_told_to_slow_down_does_so_as_one_and_keeps_no_other_account_waiting"),
        edits=(Edit(file="jobs/actions/turn.py", old="        if entry.later is not None:\n", new="        if False:\n"),),
    ),
    "one account's refusals slow all accounts down": Bug(
        catcher="a test of six actions",
        catch=_test(f"{_STRIPE}::test_an_account_that_is_told_to_slow_down_does_so_as_one_and_keeps_no_other_account_waiting"),
        edits=(Edit(file="jobs/budget.py", old='f"holdfast:budget:held:{account}:{mode}"', new='"holdfast:budget:held"'),),
    ),
    "what an older database has forgotten is not recognised": Bug(
        catcher="F15, an older copy",
        catch=_test("tests/faults/test_restored_database.py"),
        edits=(Edit(file=_COURSE, old='        elif self.wish.verb == "discount" and', new="        elif self.wish.verb is None and"),),
    ),
    "the mark of a plan before is taken for the change": Bug(
        catcher="a test of each call, three times in vain",
        catch=_test(f"{_STRIPE}::test_a_fault_at_any_call_of_several_leaves_each_of_them_done_once"),
        edits=(
            Edit(file="jobs/actions/freezing.py", old='return is_among or bool((action.call or {}).get("touched"))', new="return is_among"),
        ),
    ),
    "no unique index on what is under way": Bug(
        catcher="a test of twenty at once",
        catch=_test("tests/service/test_actions_ledger.py::test_of_twenty_that_ask_at_once_one_wins_and_the_others_learn_which"),
        edits=(
            Edit(
                file="connect_app/migrations/versions/0001_the_spine_s_tables.py",
                old="op.create_index('uq_actions_in_flight', 'actions', ['connection_id', 'subscription'], unique=True,",
                new="op.create_index('uq_actions_in_flight', 'actions', ['connection_id', 'subscription'], unique=False,",
            ),
        ),
    ),
    "a session's choice is not used up": Bug(
        catcher="a test of fifty at once",
        catch=_test("tests/http/test_flow.py::test_fifty_choices_at_once_have_one_winner_and_the_others_see_it"),
        edits=(
            Edit(
                file="flow_pages/sessions/choosing.py",
                old="update(FlowSession).where(*walking.still_open(row.id, now)).values",
                new="update(FlowSession).where(FlowSession.id == row.id).values",
            ),
            Edit(
                file="flow_pages/sessions/choosing.py",
                old="    if not walking.shown(session, visit, now):\n        return None\n    won",
                new="    walking.shown(session, visit, now)\n    won",
            ),
        ),
    ),
    "the state of OAuth is not used up": Bug(
        catcher="a test of the same way twice",
        catch=_test("tests/http/test_install.py::test_the_same_way_back_works_once"),
        edits=(
            Edit(
                file="connect_app/oauth/states.py",
                old="    row = session.execute(mine.returning(OauthState.mode, OauthState.workspace_id, OauthState.expires_at)).first()\n",
                new=(
                    "    found = select(OauthState.mode, OauthState.workspace_id, OauthState.expires_at)\n"
                    "    row = session.execute(found.where(*mine._where_criteria)).first()\n"
                ),
            ),
        ),
    ),
    "a webhook is acknowledged before its commit": Bug(
        catcher="tests of the door without a database",
        catch=_test("tests/service/test_door.py"),
        edits=(
            Edit(
                file="webhooks/committer.py",
                old="        if not delivery.settled.acquire(timeout=self._patience) or not delivery.is_kept:\n",
                new="        if delivery is None:\n",
            ),
        ),
    ),
    "a signature may be as far in the future as it likes": Bug(
        catcher="tests of the door's clock",
        catch=_test("tests/service/test_door.py"),
        edits=(
            Edit(
                file="webhooks/signatures.py",
                old="if abs(now - int(parsed.time)) > TOLERANCE:",
                new="if now - int(parsed.time) > TOLERANCE:",
            ),
        ),
    ),
}


def strike(folder: Path, name: str) -> str:
    """How this bug was caught; nothing where it was not."""
    bug = BUGS[name]
    return bug.catch(folder, bug.edits)
