"""The handbook that Holdfast serves: each error code with what to do about it, what webhooks are told, with its schemas, and the API."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, jsonify, render_template

from connect_app import runtime
from connect_app.api import document
from connect_app.errors import NotFound
from jobs.outbound import messages

blueprint = Blueprint("handbook", __name__)

_SOURCE = Path(__file__).resolve().parent.parent / "docs" / "errors.md"
_ROW = re.compile(r"\| `([a-z0-9_]+)` \| (\d{3}) \| (.+) \|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One error code with its HTTP status and a sentence on what to do."""

    code: str
    status: int
    text: str


@cache
def entries() -> tuple[Entry, ...]:
    """Every code of the table in docs/errors.md, in its order."""
    found = (_ROW.fullmatch(line) for line in _SOURCE.read_text().splitlines())
    return tuple(Entry(code=row[1], status=int(row[2]), text=row[3].replace("`", "")) for row in found if row)


@blueprint.get("/docs/errors")
def errors() -> str:
    """The table as a page, with an anchor for each code."""
    return render_template("errors.html", entries=entries())


@blueprint.get("/docs/outbound")
def outbound() -> str:
    """Every type of message, with what it means and its schema, and how to check signatures."""
    return render_template("outbound.html", meanings=messages.MEANINGS)


@blueprint.get("/docs/api")
def api() -> str:
    """What a back end can ask and say with a key: each operation as its OpenAPI document has it."""
    described = document.openapi(runtime.current().settings.base_url)
    return render_template("api.html", base_url=described["servers"][0]["url"], operations=document.operations(described))


@blueprint.get("/docs/outbound/<kind>.json")
def schema(kind: str) -> Response:
    """The JSON Schema of one type of message."""
    if kind not in messages.TYPES:
        raise NotFound(code="not_found", message="There is no such type of message.")
    return jsonify(messages.schema(kind))
