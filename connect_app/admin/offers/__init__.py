"""A workspace's offers: kept by name, placed in the default flow, and what of the connected account they can be about."""

from connect_app.admin.offers.pickers import Choice, choices, is_offered, terms
from connect_app.admin.offers.shelf import (
    EVERYWHERE,
    Kept,
    NotKept,
    Placement,
    add,
    compose,
    get,
    listing,
    move,
    read,
    remove,
    save,
    switch,
)

__all__ = [
    "EVERYWHERE",
    "Choice",
    "Kept",
    "NotKept",
    "Placement",
    "add",
    "choices",
    "compose",
    "get",
    "is_offered",
    "listing",
    "move",
    "read",
    "remove",
    "save",
    "switch",
    "terms",
]
