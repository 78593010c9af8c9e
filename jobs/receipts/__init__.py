"""Receipts: what a subscription was before and after a change, what the change did to the money, and how that is said."""

from jobs.receipts.bills import UNKNOWN, Bill, Bills, Charge, of_receipt, to_json
from jobs.receipts.closing import Closing, closing, kept
from jobs.receipts.snapshots import effective_at, plan_name, snapshot
from jobs.receipts.told import billed, owed

__all__ = [
    "UNKNOWN",
    "Bill",
    "Bills",
    "Charge",
    "Closing",
    "billed",
    "closing",
    "effective_at",
    "kept",
    "of_receipt",
    "owed",
    "plan_name",
    "snapshot",
    "to_json",
]
