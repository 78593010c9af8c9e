"""The API as an OpenAPI 3.1 document: its operations by hand, every shape from the models that make and parse it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from connect_app.api import shapes

VERSION = "1"

_REQUESTED: dict[str, Any] = {
    "workspace": "ws_06edr0vz5g3k8m1n4p7q9s2t4v",
    "livemode": True,
    "action": "act_06edr0wm7c1d5f8h2k4n6q9t3w",
    "session": "ses_06edr0w2b9e4g7j1m3p6r8t5x2",
    "choice": "cho_06edr0wm6a3c6f9h1k5n7q2t4v",
    "customer": "cus_QdX3mB9",
    "subscription": "sub_1PqW7e",
    "verb": "pause",
    "state": "requested",
    "code": "yours",
    "message": "Your own system does this, and has been asked since 2026-03-02 12:00 UTC: pause the subscription until 2026-05-02"
    " 12:00 UTC, its bills void. It shows as done here once Stripe has told of it, or Mark done or the API’s confirm has found it there.",
    "intent": {
        "resumes_at": "2026-05-02T12:00:00+00:00",
        "offer_id": "off_06edqzzx1a4c7f2h5k8n1q3t6v",
        "headline": "Take a break",
        "renews_at": "2026-03-19T09:30:00+00:00",
    },
    "stripe_request_id": None,
    "asked_at": 1772452800,
    "changed_at": 1772452800,
    "confirmation": None,
}
_ASKED = {**_REQUESTED, "confirmation": {"asked_at": 1772453400, "answered_at": None, "found": None, "message": None, "seen": None}}
_NOT_SHOWN = {
    **_REQUESTED,
    "confirmation": {
        "asked_at": 1772453400,
        "answered_at": 1772453401,
        "found": "not_shown",
        "message": "Stripe does not show it. What is looked for: pause the subscription until 2026-05-02 12:00 UTC, its bills void.",
        "seen": {"status": "active", "is_paused": False, "resumes_at": None, "cancel_at_period_end": False},
    },
}
_VERIFIED = {
    **_REQUESTED,
    "state": "verified",
    "code": None,
    "message": None,
    "stripe_request_id": "req_7hVbQ2",
    "changed_at": 1772453401,
    "confirmation": {
        "asked_at": 1772453400,
        "answered_at": 1772453401,
        "found": "shown",
        "message": None,
        "seen": {"status": "active", "is_paused": True, "resumes_at": "2026-05-02T12:00:00+00:00"},
    },
}

_REFUSALS = {
    "400": ("A parameter is wrong: `param` names it.", "invalid_request_error", "invalid_request"),
    "401": ("No API key that works came with the request.", "authentication_error", "api_key_invalid"),
    "404": ("There is no such action in the mode and workspace of this key.", "invalid_request_error", "not_found"),
    "409": (
        "Nothing is to be confirmed: `action_under_way` (Holdfast makes the change itself), `action_failed` (it has ended);"
        " or nothing can be read: `not_connected`.",
        "invalid_request_error",
        "action_under_way",
    ),
    "429": ("Too many requests with this key, or from this address.", "rate_limit_error", "too_many_requests"),
    "500": ("A fault of ours.", "api_error", "internal_error"),
    "503": ("Holdfast cannot reach its own database. Nothing was changed.", "api_error", "unavailable"),
}
_WAITING = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_HEADERS: dict[str, Any] = {
    "401": {"WWW-Authenticate": {"description": "`Bearer`, and what is wrong.", "schema": {"type": "string"}}},
    "429": _WAITING,
    "503": _WAITING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation as the handbook shows it: `parameters` and `answers` with what they mean, `examples` of answers as JSON."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    has_key: bool
    parameters: tuple[tuple[str, str], ...]
    answers: tuple[tuple[str, str], ...]
    examples: tuple[tuple[str, str], ...]


def openapi(base_url: str) -> dict[str, Any]:
    """The document, for a Holdfast at this address."""
    models: list[type[BaseModel]] = [shapes.Action, shapes.Actions, shapes.Error]
    _, made = models_json_schema([(model, "serialization") for model in models], ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": VERSION,
            "description": "For the business's back end. Times are Unix seconds, but those inside `intent` and `seen` are ISO 8601.",
        },
        "servers": [{"url": base_url}],
        "security": [{"key": []}],
        "paths": {
            "/api/v1/actions": {"get": _listing()},
            "/api/v1/actions/{action_id}": {"parameters": [_ACTION_ID], "get": _one()},
            "/api/v1/actions/{action_id}/confirm": {"parameters": [_ACTION_ID], "post": _confirming()},
            "/api/v1/openapi.json": {"get": _itself()},
        },
        "components": {
            "schemas": made["$defs"],
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `hf_key_test_…` or `hf_key_live_…`, made under Settings, API keys. It decides the mode.",
                }
            },
            "responses": {status: _refusal(base_url, status) for status in _REFUSALS},
        },
    }


def operations(described: Mapping[str, Any]) -> list[Operation]:
    """What the document says, operation by operation."""
    shared, found = described["components"]["responses"], []
    for path, verbs in described["paths"].items():
        for method in ("get", "post"):
            if (one := verbs.get(method)) is None:
                continue
            answers = {status: shared[status] if "$ref" in said else said for status, said in one["responses"].items()}
            examples = {
                f"{status}, {name.replace('_', ' ')}": example["value"]
                for status, said in answers.items()
                for name, example in said["content"]["application/json"].get("examples", {}).items()
            }
            found.append(
                Operation(
                    id=one["operationId"],
                    method=method.upper(),
                    path=path,
                    summary=one["summary"],
                    description=one.get("description", ""),
                    has_key="security" not in one,
                    parameters=tuple(
                        (given["name"], _meaning(given)) for given in (*verbs.get("parameters", ()), *one.get("parameters", ()))
                    ),
                    answers=tuple((status, said["description"]) for status, said in answers.items()),
                    examples=tuple((name, json.dumps(example, indent=2, ensure_ascii=False)) for name, example in examples.items()),
                )
            )
    return found


def _meaning(parameter: Mapping[str, Any]) -> str:
    schema = parameter["schema"]
    most = f" {schema['minimum']} to {schema['maximum']}; {schema['default']} where it is left out." if "maximum" in schema else ""
    ways = " One of " + ", ".join(f"`{way}`" for way in schema["enum"]) + "." if "enum" in schema else ""
    return f"{parameter['description']}{ways}{most}"


_ACTION_ID = {
    "name": "action_id",
    "in": "path",
    "required": True,
    "description": "`act_…`, as the webhooks `action.…` and pass-through URLs name it.",
    "schema": {"type": "string"},
}


def _listing() -> dict[str, Any]:
    asked = shapes.Question.model_json_schema(mode="validation")["properties"]
    return {
        "operationId": "list_actions",
        "summary": "List actions",
        "description": "The newest first, a page at a time. What waits for your system: `?state=requested`, those with the code `yours`.",
        "parameters": [_parameter(name, schema) for name, schema in asked.items()],
        "responses": {
            "200": _success("A page of actions.", "Actions", {"data": [_REQUESTED], "has_more": False}),
            **_refusals("400", "401", "404", "429", "500", "503"),
        },
    }


def _one() -> dict[str, Any]:
    return {
        "operationId": "get_action",
        "summary": "Look at an action",
        "description": "What was asked for, how it stands, and what became of the last confirmation.",
        "responses": {
            "200": _success("The action.", "Action", {"waits": _REQUESTED, "not_shown": _NOT_SHOWN, "verified": _VERIFIED}),
            **_refusals("401", "404", "429", "500", "503"),
        },
    }


def _confirming() -> dict[str, Any]:
    return {
        "operationId": "confirm_action",
        "summary": "Say that an action is done",
        "description": "For an action that is `requested` or `manual`, once the change is made at Stripe. It is not believed: a job reads"
        " Stripe, within seconds as a rule, and the action becomes `verified` where Stripe shows what was asked for (webhook"
        " `action.verified`). Where it does not, the action goes on waiting, and its `confirmation` says what was found. Saying it again is"
        " harmless: a verified action is answered as it is, one that waits is looked at anew. There is no body.",
        "responses": {
            "200": _success("It is verified.", "Action", {"verified": _VERIFIED}),
            "202": _success("Stripe will be read; until then `confirmation.found` is null.", "Action", {"asked": _ASKED}),
            **_refusals("401", "404", "409", "429", "500", "503"),
        },
    }


def _itself() -> dict[str, Any]:
    return {
        "operationId": "openapi",
        "summary": "This document",
        "security": [],
        "responses": {
            "200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}},
            **_refusals("429"),
        },
    }


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out rather than null, which is what the model's default means."""
    given = {key: value for key, value in schema.items() if key not in ("description", "title", "anyOf")}
    for way in schema.get("anyOf", ()):
        given |= way if way != {"type": "null"} else {}
    if given.get("default", 0) is None:
        del given["default"]
    return {"name": name, "in": "query", "required": False, "description": schema["description"], "schema": given}


def _success(description: str, model: str, examples: dict[str, Any]) -> dict[str, Any]:
    named = {"page": examples} if "data" in examples else examples
    content = {
        "schema": {"$ref": f"#/components/schemas/{model}"},
        "examples": {name: {"value": value} for name, value in named.items()},
    }
    return {"description": description, "content": {"application/json": content}}


def _refusals(*statuses: str) -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _refusal(base_url: str, status: str) -> dict[str, Any]:
    description, type, code = _REFUSALS[status]
    example = {
        "type": type,
        "code": code,
        "message": description.replace("`", ""),
        "param": "limit" if status == "400" else None,
        "request_id": "req_06edr1a4c7f2h5k8n1q3t6v9x2",
        "doc_url": f"{base_url}/docs/errors#{code}",
    }
    content = {"schema": {"$ref": "#/components/schemas/Error"}, "example": {"error": example}}
    headers = {"headers": _HEADERS[status]} if status in _HEADERS else {}
    return {"description": description, **headers, "content": {"application/json": content}}
