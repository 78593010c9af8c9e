"""A workspace's offers: kept by name, placed in the default flow, what of the connected account they are about, and whom they reach."""

from connect_app.admin.offers.numbers import Tally, tallies
from connect_app.admin.offers.pickers import Choice, Picker, coupons, currencies, is_offered, is_ready, labels, prices, terms
from connect_app.admin.offers.reach import Part, Reach, look
from connect_app.admin.offers.shelf import (
    Kept,
    NotKept,
    Placement,
    add,
    compose,
    get,
    listing,
    move,
    naming,
    read,
    remove,
    save,
    switch,
)
from connect_app.admin.offers.words import KINDS, Kind, placed, said

__all__ = [
    "KINDS",
    "Choice",
    "Kept",
    "Kind",
    "NotKept",
    "Part",
    "Picker",
    "Placement",
    "Reach",
    "Tally",
    "add",
    "compose",
    "coupons",
    "currencies",
    "get",
    "is_offered",
    "is_ready",
    "labels",
    "listing",
    "look",
    "move",
    "naming",
    "placed",
    "prices",
    "read",
    "remove",
    "said",
    "save",
    "switch",
    "tallies",
    "terms",
]
