"""A fair share of a large account's rows, for what would take too long to say of all of them."""

import zlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, TextClause, text
from sqlalchemy.orm import Session

# To count a tenant's rows one by one would be to read them all; the server's own estimate says which share to draw.
_ROWS = text("select reltuples from pg_class where oid = cast(:table as regclass)")


def draw(
    session: Session, connection_id: str, *, every: TextClause, share: TextClause, of: str, all_of: int, drawn: int
) -> tuple[Sequence[Row[Any]], float | None]:
    """The rows of `every` (`:connection`, `:most`) and None; of more than `all_of` about `drawn`, from `share`, and what per cent they are.

    `share` (`:connection`, `:percent`) samples whole pages of the table `of`, so that it costs what it gives and not what the table holds:
    `tablesample system (:percent) repeatable (1)`, the same ones each time. One to five queries.
    """
    rows = session.execute(every, {"connection": connection_id, "most": all_of + 1}).all()
    if len(rows) <= all_of:
        return rows, None
    # First as if the table were all theirs; where it is not, more of it.
    wanted = 100 * drawn / max(session.execute(_ROWS, {"table": of}).scalar_one(), drawn)
    for percent in (wanted, min(100.0, 10 * wanted)):
        rows = session.execute(share, {"connection": connection_id, "percent": percent}).all()
        if len(rows) >= drawn / 4:
            return rows, percent
    return session.execute(share, {"connection": connection_id, "percent": 100.0}).all(), 100.0


def lot(id: str) -> tuple[int, str]:
    """A place in an order that has nothing to do with who they are, and is the same each time."""
    return zlib.crc32(id.encode()), id
