"""The pages behind `doc_url`: each error code, what it means and what to do about it, read from docs/errors.md."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flask import Blueprint, render_template

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
