"""The catalogue: everything known of one subscriber as dotted paths, whichever of Stripe's API shapes it came in."""

from webhooks.catalogue.known import FIELDS, Group, Known, Type
from webhooks.catalogue.reading import as_of, fields, is_handed_over, origin, value
from webhooks.catalogue.sources import Source, recent, sample, sources, type_of
from webhooks.catalogue.subjects import HISTORY, Purchases, Subject, beside, is_whole, load, refreshed, subject, whole_since
from webhooks.catalogue.values import Value, of_stripe, wire

__all__ = [
    "FIELDS",
    "HISTORY",
    "Group",
    "Known",
    "Purchases",
    "Source",
    "Subject",
    "Type",
    "Value",
    "as_of",
    "beside",
    "fields",
    "is_handed_over",
    "is_whole",
    "load",
    "of_stripe",
    "origin",
    "recent",
    "refreshed",
    "sample",
    "sources",
    "subject",
    "type_of",
    "value",
    "whole_since",
    "wire",
]
