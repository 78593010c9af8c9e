"""What tests stand on stage: an environment, a workspace with its connection, secrets, flows."""

import hashlib
import hmac
import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connect_app import embed_secrets, ids, preferences
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from connect_app.workspaces import openings
from jobs import queues, work
from sandbox import embedded
from sandbox.stripe import accounts, seed
from sandbox.stripe.local import LocalStripe

SECRET_KEYS = embedded.secret_keys()
WEBHOOK_SECRETS = {"TEST": "whsec_test_canary", "LIVE": "whsec_live_canary"}


def environ(local: LocalStripe | None = None) -> dict[str, str]:
    """A complete environment but for the servers' addresses; with `local`, its platform keys in both modes."""
    environ = {
        "DATABASE_URL": "postgresql://nowhere/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "HOLDFAST_SECRET_KEYS": SECRET_KEYS,
        "HOLDFAST_BASE_URL": "http://127.0.0.1:8000",
    }
    if local is not None:
        for mode, livemode in (("TEST", False), ("LIVE", True)):
            environ[f"STRIPE_{mode}_SECRET_KEY"] = local.keys[livemode]
            environ[f"STRIPE_{mode}_CLIENT_ID"] = local.client_ids[livemode]
            environ[f"STRIPE_{mode}_WEBHOOK_SECRETS"] = WEBHOOK_SECRETS[mode]
        environ["STRIPE_API_BASE"] = environ["STRIPE_CONNECT_BASE"] = local.base_url
    return environ


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A workspace with one connection. `shapes` maps the local Stripe's seeded shapes to (customer, subscription)."""

    workspace_id: str
    slug: str
    connection_id: str
    account: str
    mode: str
    embed_secret: str = field(repr=False)
    shapes: Mapping[str, tuple[str, str]]


def workspace(rt: Runtime, local: LocalStripe | None = None, mode: str = "test", origins: tuple[str, ...] = ()) -> Stage:
    """A workspace by the product's own verbs: connection, account look-up, embed secret, default and control flow.

    With `local` it is connected to one of its seeded accounts: the first workspace of a mode to the one with a subscription of each
    shape (in test mode), the next to another. Nothing is read in yet: see `read_in`.
    """
    livemode = mode == Mode.LIVE
    account: dict[str, Any] = {
        "id": f"acct_{ids.new('x')[2:]}",
        "business_profile": {"name": "Fernhill Software"},
        "email": "owner@fernhill.example",
    }
    if local is not None:
        if not local.seeded:
            seed.plant(local)
        free = [local.seeded["account"], local.seeded["unconnected_account"]]
        account = local.accounts[next(id for id in free if (id, livemode) not in local.connections)]
        accounts.connect(local, account["id"], livemode, "read_write")
    with rt.transaction() as session:
        opened = openings.create(
            session,
            account=objects.read_account(account),
            mode=Mode(mode),
            scope="read_write",
            now=rt.now(),
            ring=rt.ring,
            by="operator",
        )
        if origins:
            preferences.save(session, opened.place.id, "allowed_origins", list(origins), rt.now())
        [(_, secret)] = embed_secrets.verifying(session, opened.place.id, rt.now(), rt.ring)
    rows = local.seeded["customers"] if local and account["id"] == local.seeded["account"] and not livemode else []
    return Stage(
        workspace_id=opened.place.id,
        slug=opened.place.slug,
        connection_id=opened.connection_id,
        account=account["id"],
        mode=mode,
        embed_secret=secret,
        shapes={row["shape"]: (row["customer"], row["subscription"]) for row in reversed(rows)},
    )


def read_in(rt: Runtime) -> None:
    """Do what connecting asked for: the mirror is filled, the connection checked."""
    work.drain(rt, queues.UPKEEP)


def signed(
    event: Mapping[str, object] | bytes, mode: str = "test", at: float | None = None, secret: str | None = None
) -> tuple[bytes, str]:
    """The bytes of a webhook delivery and its `Stripe-Signature`, under the secret of a mode's endpoint or another."""
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    when = str(int(time.time() if at is None else at))
    key = secret or WEBHOOK_SECRETS[mode.upper()]
    digest = hmac.new(key.encode(), when.encode() + b"." + raw, hashlib.sha256).hexdigest()
    return raw, f"t={when},v1={digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a WSGI app answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: Any


def post_webhook(
    door: Any, raw: bytes, header: str | None, *, method: str = "POST", chunked: bool = False, environ: Mapping[str, Any] | None = None
) -> Answered:
    """One delivery straight into the WSGI door, as a server would hand it over; `chunked` sends no length."""
    request = {
        "REQUEST_METHOD": method,
        "PATH_INFO": "/webhooks/stripe",
        "wsgi.input": io.BytesIO(raw),
        **({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True} if chunked else {"CONTENT_LENGTH": str(len(raw))}),
        **({} if header is None else {"HTTP_STRIPE_SIGNATURE": header}),
        **(environ or {}),
    }
    told: list[Any] = []
    body = b"".join(door(request, lambda status, headers: told.extend((status, headers))))
    return Answered(
        status=int(told[0].split()[0]), headers={name.lower(): value for name, value in told[1]}, body=json.loads(body) if body else None
    )
