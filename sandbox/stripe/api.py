"""The API's front desk: keys, accounts, idempotency and faults, in the order Stripe applies them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING

from sandbox.stripe import accounts, expansion, faults, params, routes
from sandbox.stripe.context import Context
from sandbox.stripe.faults import Fault
from sandbox.stripe.wire import API_VERSION, Dropped, Obj, Reply, Request, StripeError, decode, error_body, key_of, to_json
from sandbox.stripe.worlds import World, new_id

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe


def _noted(local: LocalStripe, request: Request, form: str) -> Obj:
    row: Obj = {
        "n": len(local.requests) + 1,
        "method": request.method,
        "path": request.path,
        "params": decode(form),
        "form": form,
        "account": request.headers.get("stripe-account"),
        "idempotency_key": request.headers.get("idempotency-key"),
        "status": None,
    }
    local.requests.append(row)
    return row


def answer(local: LocalStripe, request: Request) -> Reply:
    """One call of the API. Raises `Dropped` when a fault leaves the caller without an answer."""
    body = request.body.decode(errors="replace")
    form = body if request.method == "POST" else "&".join(filter(None, (request.query, body)))
    request_id = new_id("request")
    with local.lock:
        row = _noted(local, request, form)
        fault = local.faults.pick(request.method, request.path)
    world: World | None = None
    try:
        with local.lock:
            world = _world(local, request)
        reply = _under_key(local, request, world, row["params"], request_id, fault)
    except StripeError as error:
        reply = _failed(error, request_id, world)
    row["status"] = reply.status
    headers = {**reply.headers, **_common(request, request_id)}
    if "Date" in reply.headers and "Idempotent-Replayed" not in reply.headers:
        headers["Date"] = reply.headers["Date"]
    return Reply(status=reply.status, headers=headers, body=reply.body)


def answer_oauth(local: LocalStripe, request: Request, verb: Callable[[LocalStripe, Request], Reply]) -> Reply:
    """A call on the connect host: faults apply, idempotency keys do not."""
    with local.lock:
        row = _noted(local, request, request.body.decode(errors="replace"))
        fault = local.faults.pick(request.method, request.path)
    try:
        _before(request, fault)
        with local.lock:
            reply = verb(local, request)
        reply = _after(request, fault, reply, lambda _: None)
    except StripeError as error:
        told = to_json({"error": "server_error", "error_description": error.message})
        reply = Reply(status=error.status, headers={"Content-Type": "application/json"}, body=told)
    row["status"] = reply.status
    return Reply(status=reply.status, headers={**reply.headers, **_common(request, new_id("request"))}, body=reply.body)


def _world(local: LocalStripe, request: Request) -> World:
    """The account and mode that this request is about. Raises 401 and 403."""
    found = key_of(request.headers)
    if found is None:
        raise StripeError(
            401,
            "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth "
            "(e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details.",
            is_saved=False,
        )
    key = found[0]
    account = request.headers.get("stripe-account")
    if key in local.tokens:
        owner, livemode = local.tokens[key]
        if account not in (None, owner):
            raise accounts.no_access(key, str(account))
    elif key in local.keys.values():
        livemode = key == local.keys[True]
        owner = account or local.platform
    else:
        raise StripeError(401, f"Invalid API Key provided: {key[:8]}{'*' * 8}{key[-4:]}", is_saved=False)
    if owner != local.platform:
        scope = local.connections.get((owner, livemode))
        if scope is None:
            raise accounts.no_access(key, owner)
        if scope == "read_only" and request.method != "GET":
            raise StripeError(
                403, "This application only has read access to this account.", code="more_permissions_required", is_saved=False
            )
    version = request.headers.get("stripe-version", API_VERSION)
    if version != API_VERSION:
        raise StripeError(400, f"Invalid Stripe API version: {version}. The local Stripe speaks {API_VERSION} only.", is_saved=False)
    return local.world(owner, livemode)


def _under_key(local: LocalStripe, request: Request, world: World, raw: Obj, request_id: str, fault: Fault | None) -> Reply:
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    ctx = Context(local=local, world=world, request_id=request_id, idempotency_key=key)
    if fault is not None and fault.kind in ("429", "lock_timeout"):
        raise faults.rate_limited() if fault.kind == "429" else faults.locked()
    scope = (world.account, world.livemode, key or "")
    if key:
        print = json.dumps([request.method, request.path, raw], sort_keys=True)
        with local.lock:
            kept = local.idempotency.begin(scope, print)
        if kept is not None:
            return _after(request, fault if fault and fault.kind != "500_after" else None, kept, lambda _: None)
    is_kept = False

    def keep(reply: Reply) -> None:
        nonlocal is_kept
        is_kept = True
        if key:
            with local.lock:
                local.idempotency.keep(scope, reply)

    try:
        try:
            _before(request, fault)
            with local.lock:
                local.clock.settle()
                reply = _served(ctx, request, raw)
        except StripeError as error:
            reply = _failed(error, request_id, world)
            if not error.is_saved:
                return reply
        return _after(request, fault, reply, keep)
    finally:
        if key and not is_kept:
            with local.lock:
                local.idempotency.release(scope)


def _served(ctx: Context, request: Request, raw: Obj) -> Reply:
    found = routes.find(request.method, request.path)
    if found is None:
        told = "Please see https://stripe.com/docs or we can help at https://support.stripe.com/."
        raise StripeError(404, f"Unrecognized request URL ({request.method}: {request.path}). {told}", is_saved=False)
    route, ids = found
    p = params.read(route.fields, raw)
    paths = p.pop("expand", [])
    if request.method != "GET" and ids and paths:
        present = next((obj for table in ctx.world.tables.values() if (obj := table.get(ids[0]))), None)
        if present is not None:  # what can't be expanded is refused before anything is changed
            expansion.expanded(ctx.world, present, paths)
    body = route.answer(ctx, *ids, p)
    # Stamped under the lock: what changes later is never older than this answer says it is.
    headers = {"Content-Type": "application/json", "Request-Id": str(ctx.request_id), "Date": formatdate(time.time(), usegmt=True)}
    return Reply(headers=headers, body=to_json(expansion.expanded(ctx.world, body, paths)))


def _before(request: Request, fault: Fault | None) -> None:
    """What strikes before anything is done."""
    match fault.kind if fault else None:
        case "kill_before":
            if request.caller:
                request.caller.kill()
            raise Dropped
        case "reset":
            raise Dropped
        case "slow" if fault:
            time.sleep(fault.seconds)
        case "500":
            raise faults.server_error()
        case "429":
            raise faults.rate_limited()
        case "lock_timeout":
            raise faults.locked()


def _after(request: Request, fault: Fault | None, reply: Reply, keep: Callable[[Reply], None]) -> Reply:
    """What strikes once it is done."""
    match fault.kind if fault else None:
        case "500_after":
            request_id = str(reply.headers.get("Request-Id", new_id("request")))
            reply = _failed(faults.server_error(), request_id, None)
            keep(reply)
        case "timeout_after" if fault:
            keep(reply)
            if request.caller:
                request.caller.hold(fault.seconds)
            raise Dropped
        case "kill_after":
            keep(reply)
            if request.caller:
                request.caller.kill()
            raise Dropped
        case _:
            keep(reply)
    return reply


def _failed(error: StripeError, request_id: str, world: World | None) -> Reply:
    body = error_body(error, request_id, world.account if world else None, bool(world and world.livemode))
    headers = {"Content-Type": "application/json", "Request-Id": request_id, **error.headers}
    return Reply(status=error.status, headers=headers, body=to_json(body))


def _common(request: Request, request_id: str) -> dict[str, str]:
    headers = {"Request-Id": request_id, "Date": formatdate(time.time(), usegmt=True), "Stripe-Version": API_VERSION}
    if account := request.headers.get("stripe-account"):
        headers["Stripe-Account"] = account
    if request.method == "POST" and (key := request.headers.get("idempotency-key")):
        headers["Idempotency-Key"] = key
    return headers
