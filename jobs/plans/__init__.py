"""Plans: what a wish about one subscription comes to on the shape Stripe shows, and what Stripe must show to prove it fulfilled. Pure."""

from jobs.plans.discounts import coupon_of
from jobs.plans.table import DECISIONS, VERBS, foreign, is_marked, kept, may_have_been_made, needs, plan, proves, rest, shows, was_made
from jobs.plans.verdicts import AlreadyDone, Plan, Refused, Verdict
from jobs.plans.wish import Needs, Situation, Wish

__all__ = [
    "DECISIONS",
    "VERBS",
    "AlreadyDone",
    "Needs",
    "Plan",
    "Refused",
    "Situation",
    "Verdict",
    "Wish",
    "coupon_of",
    "foreign",
    "is_marked",
    "kept",
    "may_have_been_made",
    "needs",
    "plan",
    "proves",
    "rest",
    "shows",
    "was_made",
]
