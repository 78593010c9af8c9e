"""How the money of a change is told to the customer, on pages and in letters alike."""

from connect_app import money
from jobs.receipts.bills import Bill, Bills


def billed(bills: Bills, locale: str, *, last: bool = False) -> str:
    """A sentence about the invoice that the change made: `An invoice of €3.20 was paid.`; '' where it made none, or none is known of."""
    return " ".join(said for bill in bills.made or () if (said := _said(bill, "A last invoice" if last else "An invoice", locale)))


def owed(bills: Bills, locale: str) -> str:
    """What is open besides, `€29.00`; '' where nothing is, or it is not known."""
    return " + ".join(money.format(amount, locale) for amount in bills.open or ())


def _said(bill: Bill, what: str, locale: str) -> str:
    total = money.format(bill.total, locale)
    if bill.total.amount < 0:
        return f"{money.format(-bill.total, locale)} was credited to your account."
    if not bill.total.amount:
        return ""
    match bill.status:
        case "paid" if bill.due == bill.total:
            return f"{what} of {total} was paid."
        case "paid" if not bill.due.amount:
            return f"{what} of {total} was paid from your credit."
        case "paid":
            return f"{what} of {total} was paid: {money.format(bill.due, locale)} of it by you, the rest from your credit."
        case "open":
            return f"{what} of {money.format(bill.remaining, locale)} is open."
        case "draft":
            return f"{what} of {total} is on its way."
        case "void":
            return f"{what} of {total} was voided: you do not owe it."
        case "uncollectible":
            return f"{what} of {total} is not collected."
        case _:
            return f"{what} of {total} was made."
