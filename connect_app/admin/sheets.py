"""CSV as spreadsheets open it safely: what a customer typed must not run as a formula on the owner's machine."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

Cell = str | int | Decimal | bool | datetime | None

# What spreadsheets take for the beginning of a formula, in either width; a tab or a line break may hide one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def lines(rows: Iterable[Iterable[Cell]]) -> str:
    """Rows as CSV (RFC 4180). A text that begins like a formula gets an apostrophe before it; numbers stay numbers.

    Times are ISO 8601 in UTC, booleans `true` and `false`, what is not known is empty.
    """
    page = io.StringIO()
    csv.writer(page).writerows([_cell(cell) for cell in row] for row in rows)
    return page.getvalue()


def _cell(value: Cell) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case str():
            # Some spreadsheets cut off the space before they look.
            return "'" + value if value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA) else value
        case _:
            return str(value)
