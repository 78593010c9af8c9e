"""The portal: all subscriptions of one customer, what can be done about each, and the invoices; a GET changes nothing."""

from flow_pages.portal.views import blueprint

__all__ = ["blueprint"]
