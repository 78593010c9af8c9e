"""What a flow consists of: the document that a published version keeps and that a session walks through."""

from flow_pages.document.defaults import control_flow, default_flow
from flow_pages.document.flow import CancelOptions, Confirm, Done, Feedback, Flow, Reason, Survey, parse
from flow_pages.document.offers import (
    MOST_SHOWN,
    USUAL_LIMITS,
    Coupons,
    CustomOffer,
    DiscountOffer,
    ExtensionOffer,
    Limits,
    LinkOffer,
    Minted,
    Offer,
    PauseOffer,
    PlanOffer,
    Prices,
    TrialOffer,
    Whose,
)

__all__ = [
    "MOST_SHOWN",
    "USUAL_LIMITS",
    "CancelOptions",
    "Confirm",
    "Coupons",
    "CustomOffer",
    "DiscountOffer",
    "Done",
    "ExtensionOffer",
    "Feedback",
    "Flow",
    "Limits",
    "LinkOffer",
    "Minted",
    "Offer",
    "PauseOffer",
    "PlanOffer",
    "Prices",
    "Reason",
    "Survey",
    "TrialOffer",
    "Whose",
    "control_flow",
    "default_flow",
    "parse",
]
