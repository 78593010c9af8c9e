"""A breakdown as CSV: a line for each group, its cases by state, and what they were worth in each currency as text for people."""

from collections.abc import Callable, Iterator

from connect_app.admin import sheets
from connect_app.admin.reports import cuts
from connect_app.admin.reports.breakdown import Breakdown

HEADER = (
    "group", "cases", "canceled", "saved", "lost", "on_watch", "open", "unknown", "save_rate",
    "currency", "saved_a_month", "lost_a_month", "on_watch_a_month", "paid_since",
)  # fmt: skip


def sheet(divided: Breakdown, label: Callable[[str], str]) -> Iterator[list[sheets.Cell]]:
    """The lines with their header. A group with several currencies has a line for each, one with none a single line without amounts."""
    yield list(HEADER)
    for group in divided.groups:
        told = group.headline
        name = f"{label(group.token)} ({divided.others} values)" if group.token == cuts.OTHER else label(group.token)
        counts: list[sheets.Cell] = [
            name, told.cases, told.of("canceled"), told.of("saved"), told.of("lost"), told.of("watch", "paused"), told.of("open"),
            told.of("unknown"), told.save_rate,
        ]  # fmt: skip
        for sums in told.sums:
            yield [*counts, sums.currency, sums.saved, sums.lost, sums.watched, sums.paid]
        if not told.sums:
            yield [*counts, None, None, None, None, None]
