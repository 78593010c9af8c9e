"""Mail: letters asked for in a transaction, each topic once, and sent afterwards by SMTP, or shown on the console where none is set."""

import smtplib
import ssl
import sys
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from urllib.parse import unquote, urlsplit

import structlog
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import ids, tokens
from connect_app.models import Delivery
from connect_app.models.base import Json
from connect_app.runtime import Runtime
from jobs import queues, work

log = structlog.get_logger()

_TIMEOUT = 20.0


class Undeliverable(Exception):
    """The letter will never arrive: its address or the server's answer to it is wrong for good."""


def ask(
    session: Session,
    *,
    workspace_id: str,
    topic: str,
    to: str | None,
    subject: str,
    text: str,
    now: datetime,
    link: Json | None = None,
    code: Json | None = None,
    problem: str | None = None,
) -> str | None:
    """Ask for a letter inside the caller's transaction; gives its delivery's id, or None where this topic was asked for before.

    With a `link` (`{purpose, row_id, epoch, path}`, `{token}` in the path), `{link}` in the text becomes its URL when it is sent; with
    a `code` (`{kid, row_id, nonce}`), `{code}` becomes its digits. With `to` None the letter is kept as failed, with `problem`
    as the reason.
    """
    row = insert(Delivery).values(
        id=ids.new("dlv"),
        workspace_id=workspace_id,
        kind="email",
        topic=topic,
        payload={"to": to, "subject": subject, "text": text, "link": link, **({"code": code} if code else {})},
        state="queued" if to else "failed",
        problem=None if to else problem or "no address to send to",
        asked_at=now,
    )
    delivery_id: str | None = session.execute(row.on_conflict_do_nothing().returning(Delivery.id)).scalar_one_or_none()
    if delivery_id is not None and to:
        queues.enqueue(session, "email", delivery_id, workspace_id, due_at=now)
    return delivery_id


def deliver(rt: Runtime, claim: work.Claim) -> work.End:
    """Send one letter. At least once: a worker that dies after sending sends again, under the same Message-ID."""
    with rt.transaction(claim.tenant) as session:
        delivery = session.execute(select(Delivery).where(Delivery.id == claim.row_id)).scalar_one_or_none()
    if delivery is None or delivery.state != "queued":
        return work.Done()
    try:
        _send(rt, _letter(rt, delivery))
    except Undeliverable as problem:
        _settle(rt, claim, "failed", str(problem))
        log.warning("mail.undeliverable", problem=str(problem))
        return work.Done()
    except (smtplib.SMTPException, OSError) as problem:
        return work.Again(problem=f"mail: {type(problem).__name__}: {problem}"[:500])
    _settle(rt, claim, "delivered", None)
    return work.Done()


def give_up(rt: Runtime, claim: work.Claim, problem: str) -> None:
    """The mail server has not taken the letter, however often it was asked."""
    _settle(rt, claim, "failed", problem)


def _settle(rt: Runtime, claim: work.Claim, state: str, problem: str | None) -> None:
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        session.execute(
            update(Delivery)
            .where(Delivery.id == claim.row_id, Delivery.state == "queued")
            .values(state=state, problem=problem, delivered_at=rt.now() if state == "delivered" else None)
        )


def _letter(rt: Runtime, delivery: Delivery) -> EmailMessage:
    payload, text = delivery.payload, str(delivery.payload["text"])
    if link := payload.get("link"):
        token = tokens.make(rt.ring, link["purpose"], link["row_id"], link["epoch"])
        text = text.replace("{link}", rt.settings.base_url + link["path"].replace("{token}", token))
    if code := payload.get("code"):
        text = text.replace("{code}", tokens.code(rt.ring, code["kid"], code["row_id"], code["nonce"]) or "------")
    sender = parseaddr(rt.settings.mail_from)[1]
    letter = EmailMessage()
    try:
        letter["From"] = rt.settings.mail_from
        letter["To"] = payload["to"]
        letter["Subject"] = " ".join(str(payload["subject"]).split())
        letter["Date"] = format_datetime(rt.now())
        letter["Message-ID"] = f"<{delivery.id}@{sender.rpartition('@')[2] or 'localhost'}>"
        letter["Auto-Submitted"] = "auto-generated"
    except (ValueError, IndexError) as problem:  # a line break in an address, or an address that is none
        raise Undeliverable(f"the letter's address cannot be written: {problem}") from problem
    letter.set_content(text)
    return letter


def _send(rt: Runtime, letter: EmailMessage) -> None:
    """Hand the letter over. Raises Undeliverable when the server refuses it for good, SMTPException or OSError otherwise."""
    url = rt.settings.smtp_url.get_secret_value()
    if not url:
        _show(letter)
        return
    place = urlsplit(url)
    host, context = place.hostname or "localhost", ssl.create_default_context()
    server: smtplib.SMTP
    if place.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, place.port or 465, timeout=_TIMEOUT, context=context)
    else:
        server = smtplib.SMTP(host, place.port or 25, timeout=_TIMEOUT)
    with server:
        server.ehlo()
        if place.scheme != "smtps" and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
        if place.username:
            server.login(unquote(place.username), unquote(place.password or ""))
        try:
            server.send_message(letter)
        except smtplib.SMTPRecipientsRefused as refusal:
            if all(code >= 500 for code, _ in refusal.recipients.values()):
                raise Undeliverable(f"the mail server refuses the address: {refusal.recipients}") from refusal
            raise
        except smtplib.SMTPDataError as refusal:
            if refusal.smtp_code >= 500:
                raise Undeliverable(f"the mail server refuses the letter: {refusal}") from refusal
            raise


def _show(letter: EmailMessage) -> None:
    head = "\n".join(f"{name}: {letter[name]}" for name in ("From", "To", "Subject"))
    sys.stdout.write(f"----- begin letter -----\n{head}\n\n{letter.get_content().rstrip()}\n----- end letter -----\n")
    sys.stdout.flush()
