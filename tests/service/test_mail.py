"""Letters leave after the commit that asked for them, once a topic, to whom they may go, and say what is true."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from typing import ClassVar

import pytest
from sqlalchemy import select

from connect_app import config, tokens
from connect_app.models import SessionFact
from jobs import mail, queues, work
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import TOO_LATE, Stage


@dataclass
class Post:
    """A mail server of one's own: what it took, and what it says to a letter's address."""

    letters: list[bytes] = field(default_factory=list)
    to_address: str = "250 ok"
    port: int = 0


class _Door(socketserver.StreamRequestHandler):
    post: ClassVar[Post]

    def handle(self) -> None:
        self._say("220 post")
        while line := self.rfile.readline().strip().upper():
            if line.startswith(b"EHLO"):
                self._say("250 post")
            elif line.startswith(b"RCPT"):
                self._say(self.post.to_address)
            elif line == b"DATA":
                self._say("354 go on")
                body = b""
                while not body.endswith(b"\r\n.\r\n"):
                    body += self.rfile.readline()
                self.post.letters.append(body[:-5])
                self._say("250 taken")
            elif line == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


@pytest.fixture
def post() -> Iterator[Post]:
    kept = Post()
    handler = type("Door", (_Door,), {"post": kept})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        kept.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield kept
        server.shutdown()
        thread.join()


@contextmanager
def open_stage(servers: Servers, local: LocalStripe, mode: str = "test", **environ: str) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url, **environ})
    with ledgers.stage(settings, local, mode) as opened:
        yield opened


@pytest.fixture
def stage(servers: Servers, local: LocalStripe, post: Post) -> Iterator[Stage]:
    with open_stage(servers, local, SMTP_URL=f"smtp://127.0.0.1:{post.port}", MAIL_FROM="Holdfast <mail@holdfast.example>") as opened:
        yield opened


def ask(stage: Stage, topic: str = "a", to: str | None = "ada@mail.example", **values: object) -> str | None:
    with stage.rt.transaction(stage.workspace_id) as session:
        letter = {"subject": "Hello", "text": "Grüße — 5 €\n", **values}
        return mail.ask(session, workspace_id=stage.workspace_id, topic=topic, to=to, now=stage.rt.now(), **letter)  # type: ignore[arg-type]


def test_a_letter_is_sent_once_a_topic_as_plain_text(stage: Stage, post: Post) -> None:
    delivery = ask(stage)
    assert delivery is not None
    assert ask(stage) is None
    assert isinstance(stage.work(delivery, "email"), work.Done)
    [raw] = post.letters
    letter = message_from_bytes(raw, policy=policy.default)
    assert (letter["To"], letter["From"], letter["Subject"]) == ("ada@mail.example", "Holdfast <mail@holdfast.example>", "Hello")
    assert letter["Message-ID"] == f"<{delivery}@holdfast.example>"
    assert letter.get_content_type() == "text/plain"
    assert letter.get_content().rstrip() == "Grüße — 5 €"
    assert stage.letters()[0].state == "delivered"


def test_a_link_is_derived_when_the_letter_is_sent_and_stored_nowhere(stage: Stage, post: Post) -> None:
    row = "lgn_" + "0" * 26
    link = {"purpose": "login", "row_id": row, "epoch": 1, "path": "/sign-in/{token}"}
    delivery = ask(stage, text="Sign in: {link}", link=link)
    assert delivery is not None
    stage.work(delivery, "email")
    token = tokens.make(stage.rt.ring, "login", row, 1)
    content = message_from_bytes(post.letters[0], policy=policy.default).get_content()
    assert content.strip() == f"Sign in: http://127.0.0.1:8000/sign-in/{token}"
    assert token not in str(stage.letters()[0].payload)


def test_an_address_refused_for_now_is_tried_again_and_one_refused_for_good_is_not(stage: Stage, post: Post) -> None:
    delivery = ask(stage)
    assert delivery is not None
    post.to_address = "451 later"
    assert isinstance(stage.work(delivery, "email"), work.Again)
    assert stage.letters()[0].state == "queued"
    post.to_address = "550 no such person"
    assert isinstance(stage.work(delivery, "email"), work.Done)
    assert stage.letters()[0].state == "failed"
    assert "no such person" in str(stage.letters()[0].problem)


def test_a_mail_server_that_stays_away_is_given_up_and_the_letter_says_so(stage: Stage, post: Post) -> None:
    post.to_address = "451 later"
    delivery = ask(stage)
    assert delivery is not None
    stage.sql("update work set attempts = 11")
    assert isinstance(stage.work(delivery, "email"), work.GiveUp)
    assert stage.letters()[0].state == "failed"


@pytest.mark.parametrize("to", ["a@b.example\nBcc: c@d.example", "a@b.example\r\nBcc: c@d.example"])
def test_an_address_that_would_add_a_header_is_never_written(stage: Stage, post: Post, to: str) -> None:
    delivery = ask(stage, to=to)
    assert delivery is not None
    stage.work(delivery, "email")
    assert post.letters == []
    assert stage.letters()[0].state == "failed"


def test_a_subject_with_line_breaks_is_one_line(stage: Stage, post: Post) -> None:
    delivery = ask(stage, subject="Pro\r\nBcc: c@d.example")
    assert delivery is not None
    stage.work(delivery, "email")
    letter = message_from_bytes(post.letters[0], policy=policy.default)
    assert (letter["Subject"], letter["Bcc"]) == ("Pro Bcc: c@d.example", None)


def test_without_a_mail_server_the_whole_letter_is_shown(servers: Servers, local: LocalStripe, capsys: pytest.CaptureFixture[str]) -> None:
    with open_stage(servers, local) as stage:
        delivery = ask(stage)
        assert delivery is not None
        stage.work(delivery, "email")
        shown = capsys.readouterr().out
        letter = shown[shown.index("----- begin letter -----") : shown.index("----- end letter -----")]
        assert "To: ada@mail.example\nSubject: Hello\n\nGrüße — 5 €\n" in letter
        assert stage.letters()[0].state == "delivered"


# Who is written to about an action, and what.


def test_in_test_mode_only_the_owner_is_written_to(stage: Stage) -> None:
    stage.owner("analyst@fernhill.example", role="analyst")
    stage.owner("owner@fernhill.example")
    action = stage.ask("monthly", "cancel")
    stage.mirrored_customer(action.customer, "maya@mail.example")
    stage.run(action)
    [letter] = stage.letters()
    assert letter.payload["to"] == "owner@fernhill.example"
    assert letter.payload["subject"].startswith("[Test] Your subscription to Pro ends on ")


def test_a_letter_of_test_mode_says_whom_it_would_have_gone_to(stage: Stage) -> None:
    stage.owner()
    action = stage.ask("monthly", "cancel")
    stage.mirrored_customer(action.customer, "maya@mail.example")
    stage.run(action)
    told = f"[Test mode: in live mode, this letter goes to the customer {action.customer}, maya@mail.example.]\n"
    assert stage.letters()[0].payload["text"].endswith(f"Fernhill Software\n\n{told}")


def test_test_mail_without_an_owner_is_kept_as_failed(stage: Stage) -> None:
    stage.run(stage.ask("monthly", "cancel"))
    [letter] = stage.letters()
    assert (letter.state, letter.problem, letter.payload["to"]) == ("failed", "no owner to send test mail to", None)
    assert stage.work_rows("email") == []


def test_in_live_mode_the_customer_is_written_to(servers: Servers, local: LocalStripe) -> None:
    with open_stage(servers, local, mode="live") as stage:
        stage.owner()
        action = stage.ask("monthly", "cancel")
        stage.mirrored_customer(action.customer, "maya@mail.example")
        assert stage.run(action).state == "verified"
        [letter] = stage.letters()
        assert letter.payload["to"] == "maya@mail.example"
        assert not letter.payload["subject"].startswith("[Test]")
        assert "maya@mail.example" not in letter.payload["text"]


def test_the_letter_about_a_cancel_says_until_when_and_that_no_renewal_follows(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel")
    stage.run(action)
    ends = stage.receipt(action).effective_at
    assert ends is not None
    text = stage.letters()[0].payload["text"]
    assert f"you keep it until {ends:%B} {ends.day}, {ends.year}" in text
    assert "No renewal will be charged." in text
    assert "\n\nFernhill Software\n" in text


def test_the_letter_about_a_past_due_cancel_does_not_hide_the_open_invoice(stage: Stage) -> None:
    action = stage.ask("past_due", "cancel")
    stage.run(action)
    [bill] = [
        one
        for one in stage.local.world(stage.account, False).all("invoice")
        if one["status"] == "open" and one["customer"] == action.customer
    ]
    assert f"${bill['amount_due'] / 100:.2f} is still open." in stage.letters()[0].payload["text"]


def test_the_letter_about_an_offer_says_what_is_in_place_and_when_the_next_charge_is(stage: Stage) -> None:
    visit = stage.visit(*stage.shapes["already_canceling"])
    terms = [["You save", "20%"], ["For", "3 months"]]
    choice = stage.choice(visit, "accept", {"headline": "Would a lower price help?", "terms": terms})
    action = stage.ask("already_canceling", "discount", session_id=visit, choice_id=choice)
    stage.run(action)
    text = stage.letters()[0].payload["text"]
    next_charge = stage.receipt(action).next_charge_at
    assert next_charge is not None
    assert "your discount is in place: it counts from your next bill.\n\nWhat you accepted:\n- You save: 20%\n- For: 3 months\n\n" in text
    assert "?" not in text
    assert "The cancellation that was scheduled has been taken back." in text
    assert f"The next charge is $23.20 on {next_charge:%B} {next_charge.day}, {next_charge.year}." in text


def test_what_a_person_must_do_is_never_called_done(stage: Stage) -> None:
    action = stage.ask("scheduled", "cancel", TOO_LATE)
    stage.run(action)
    [letter] = stage.letters()
    assert letter.topic == f"action/{action.id}/received"
    assert "It is not done yet: the team at Fernhill Software has been told" in letter.payload["text"]


def test_what_failed_is_said_to_have_failed(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")
    stage.change(action.subscription, status="canceled")
    stage.run(action)
    assert "was not carried out, because the subscription had already ended." in stage.letters()[0].payload["text"]


# Promises.


def promise(stage: Stage, action_id: str) -> None:
    with stage.rt.transaction(stage.workspace_id) as session:
        queues.enqueue(session, "action_promise", action_id, stage.workspace_id, due_at=stage.rt.now() + timedelta(seconds=20))


def test_after_twenty_seconds_unsettled_a_promise_is_made_and_kept_when_it_settles(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel")
    promise(stage, action.id)
    assert work.perform(stage.rt, stage.work_rows("action_promise")[0].id) is None, "not before its time"
    stage.later(seconds=21)
    assert isinstance(stage.work(action.id, "action_promise"), work.Done)
    promise(stage, action.id)
    stage.work(action.id, "action_promise")
    assert stage.letters() == []
    stage.run(action)
    assert stage.facts(action) == ["action.queued", "promise.made", "action.applied", "action.verified", "outcome.changed"]
    assert [letter.topic for letter in stage.letters()] == [f"action/{action.id}/settled"]


def test_what_is_settled_in_time_needs_no_promise(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel")
    promise(stage, action.id)
    stage.run(action)
    stage.work(action.id, "action_promise")
    assert stage.all(select(SessionFact).where(SessionFact.kind == "promise.made")) == []
    assert len(stage.letters()) == 1


def test_a_request_that_waits_for_the_team_is_confirmed_once_and_not_said_to_be_slow(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel", state="requested", code="plain")
    promise(stage, action.id)
    stage.work(action.id, "action_promise")
    assert stage.facts(action) == ["action.requested"]
    [letter] = stage.letters()
    assert letter.topic == f"action/{action.id}/received"
