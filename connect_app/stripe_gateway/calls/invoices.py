"""What becomes of an invoice that is open when a subscription ends."""

from connect_app.stripe_gateway.calls.call import Call


def void(invoice_id: str) -> Call:
    """It is owed no more."""
    return Call(method="invoices.void", target=invoice_id, params={})


def keep_collecting(invoice_id: str) -> Call:
    """Go on asking for it: Stripe stops with the subscription's end unless told otherwise."""
    return Call(method="invoices.update", target=invoice_id, params={"auto_advance": True})
