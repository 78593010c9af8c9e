"""Forms of offers: what may be typed, what document it comes to, and what is wrong with it beside its field."""

from connect_app.admin.offer_forms.kinds import FORMS, DiscountForm, PlanForm
from connect_app.admin.offer_forms.offer import OfferForm

__all__ = ["FORMS", "DiscountForm", "OfferForm", "PlanForm"]
