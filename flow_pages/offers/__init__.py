"""Offers as customers meet them: which can be made to whom, how they can be taken, and what they come to in words."""

from flow_pages.offers.limits import in_the_way, is_limited
from flow_pages.offers.making import Made, made, taken
from flow_pages.offers.options import Known, Option, conceivable, named, options, refusal
from flow_pages.offers.terms import cost, duration, saving, terms

__all__ = [
    "Known",
    "Made",
    "Option",
    "conceivable",
    "cost",
    "duration",
    "in_the_way",
    "is_limited",
    "made",
    "named",
    "options",
    "refusal",
    "saving",
    "taken",
    "terms",
]
