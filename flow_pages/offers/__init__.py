"""Offers as customers meet them: which can be made to whom, how they can be taken, and what they come to in words."""

from flow_pages.offers.limits import in_the_way, is_limited
from flow_pages.offers.making import Made, among, held, made, taken
from flow_pages.offers.options import Known, Option, conceivable, named, options, refusal
from flow_pages.offers.terms import (
    FIRST_CHARGE,
    NEW_PLAN,
    ONE_BILL,
    PAYS_ABOUT,
    cost,
    duration,
    named_way,
    of_coupon,
    particulars,
    saving,
    terms,
)

__all__ = [
    "FIRST_CHARGE",
    "NEW_PLAN",
    "ONE_BILL",
    "PAYS_ABOUT",
    "Known",
    "Made",
    "Option",
    "among",
    "conceivable",
    "cost",
    "duration",
    "held",
    "in_the_way",
    "is_limited",
    "made",
    "named",
    "named_way",
    "of_coupon",
    "options",
    "particulars",
    "refusal",
    "saving",
    "taken",
    "terms",
]
