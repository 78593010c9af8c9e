"""The control door: what was asked, what it changed, and how to disturb, move and change things from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from sandbox.stripe import accounts, contract, dashboard, knobs, misfortunes, seed, shapes
from sandbox.stripe.wire import Obj, Reply, Request, StripeError, invalid, missing, to_json

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe

LONGEST_ADVANCE = 10 * 366 * 86400


def answer(local: LocalStripe, request: Request) -> Reply:
    """JSON in, JSON out; 400 and 404 say why. The caller holds the lock."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    try:
        return Reply(headers=headers, body=to_json(_answer(local, request)))
    except StripeError as error:
        told = {"error": {"message": error.message, "param": error.param}}
        return Reply(status=error.status, headers=headers, body=to_json(told))


def _answer(local: LocalStripe, request: Request) -> Any:
    method, path = request.method, request.path.removeprefix("/_sandbox").rstrip("/")
    query = {key: values[-1] for key, values in parse_qs(request.query).items()}
    match method, path.split("/")[1:]:
        case "GET", ["requests"]:
            since = query.get("since", "0")
            if not since.isdecimal() or len(since) > 18:
                raise invalid("`since` is the number of a request.", "since")
            return local.requests[int(since) :]
        case "GET", ["contract"]:
            since = query.get("since", "0")
            if not since.isdecimal() or len(since) > 18:
                raise invalid("`since` is the number of a request.", "since")
            return [broken for row in local.requests[int(since) :] if (broken := _broken(row))]
        case "GET", ["effects"]:
            wanted = query.get("subscription")
            return [row for row in local.effects if wanted in (None, row["subscription"])]
        case "POST", ["faults"]:
            body = knobs.parsed(request.body)
            added = [rule.shown() for rule in local.faults.add_all(body if isinstance(body, list) else [body])]
            return added if isinstance(body, list) else added[0]
        case "GET", ["faults"]:
            return [rule.shown() for rule in local.faults.rules]
        case "DELETE", ["faults"]:
            local.faults.rules.clear()
            return []
        case "POST", ["webhooks"]:
            local.deliveries.disturb(knobs.parsed(request.body))
            return _webhooks(local)
        case "GET", ["webhooks"]:
            return _webhooks(local)
        case "DELETE", ["webhooks"]:
            local.deliveries.calm()
            return _webhooks(local)
        case "POST", ["clock"]:
            body = knobs.record(knobs.parsed(request.body), ("advance",), "advance")
            # Everything due on the way happens, under the lock: centuries would never end.
            local.clock.advance(knobs.whole(body.get("advance"), "advance", 0, LONGEST_ADVANCE))
            return _clock(local)
        case "GET", ["clock"]:
            return _clock(local)
        case "POST", ["deauthorize"]:
            account = knobs.text(knobs.record(knobs.parsed(request.body), ("account",), "account").get("account"), "account")
            done = [mode for mode in (False, True) if accounts.disconnect(local, account, mode)]
            if not done:
                raise missing("connected account", account, "account")
            return {"account": account, "modes": ["live" if mode else "test" for mode in done]}
        case "GET", ["objects", id]:
            return dashboard.find(local, id)[1]
        case "POST", ["objects", id]:
            return dashboard.change(local, id, knobs.parsed(request.body))
        case "POST", ["misfortunes"]:
            return misfortunes.befall(local, knobs.parsed(request.body))
        case "POST", ["shapes"]:
            return shapes.make(local, knobs.parsed(request.body))
        case "GET", ["shapes"]:
            return list(shapes.SHAPES)
        case "POST", ["seed"]:
            return seed.plant(local)
        case "GET", ["seeded"]:
            return seed.told(local)
    raise StripeError(404, f"There is no control {method} {request.path}.")


def _broken(row: Obj) -> Obj | None:
    """What the SDK's own types have against a request, None where they would let it pass."""
    told = contract.problem(row["method"], row["path"], row["form"]) if row["path"].startswith("/v1/") else None
    return {key: row[key] for key in ("n", "method", "path", "status")} | {"problem": told} if told else None


def _webhooks(local: LocalStripe) -> Obj:
    return {**local.deliveries.disturbance, "waiting": local.deliveries.waiting, **local.deliveries.counts}


def _clock(local: LocalStripe) -> Obj:
    return {"now": local.clock.now(), "offset": local.clock.offset}
