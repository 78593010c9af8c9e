"""Reports by what is known of customers: by the variables that their sessions kept, by reason and by offer."""

from connect_app.admin.reports.breakdown import Breakdown, Group, TooMuch, broken_down, patiently
from connect_app.admin.reports.cuts import OTHER, Asked, Cut, condition, label, order
from connect_app.admin.reports.names import Name, asked, known, reasons
from connect_app.admin.reports.sheet import sheet

__all__ = [
    "OTHER", "Asked", "Breakdown", "Cut", "Group", "Name", "TooMuch", "asked", "broken_down", "condition", "known", "label", "order",
    "patiently", "reasons", "sheet",
]  # fmt: skip
