"""What a cancel did to the money: by what was read back where it was, else by the calls that were made for it."""

from dataclasses import dataclass

from connect_app.models import Action
from jobs.receipts import told
from jobs.receipts.bills import UNKNOWN, Bills

# Whose unused time Stripe credits: also where it is not paid yet, and stays due.
_CREDITED = {
    "active": "Time that you had paid for and not used",
    "past_due": "Time that you have not used",
    "unpaid": "Time that you have not used",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """Whether open invoices were voided, and what was `billed` and `lost`, in words."""

    is_voided: bool
    billed: str
    lost: str
    voided: str = "What was open has been voided: you no longer owe it."


def closing(action: Action, bills: Bills = UNKNOWN, locale: str = "en") -> Closing:
    """Of one that had ended already no call was sent, and nothing is told."""
    requests, before = (action.call or {}).get("requests") or (), (action.call or {}).get("before") or {}
    is_voided = any(request["method"] == "invoices.void" for request in requests)
    ending = next((request for request in requests if request["method"].endswith(".cancel")), None)
    params = ending["params"] if ending else {}
    lost = "What was planned for later is given up with it." if (action.call or {}).get("loses") else ""
    said = []
    made = told.billed(bills, locale, last=True)
    if params.get("invoice_now") and bills.made is not None:
        # Time that was paid for and not used is counted in.
        return Closing(is_voided=is_voided, billed=made or "Nothing was left to bill.", lost=lost)
    said += [made] if made else []  # a renewal at the last moment
    if params.get("invoice_now"):
        said.append("What had not been billed yet, if there is anything, comes on a last invoice.")
    # Of one that is paused Stripe puts the credit away with its bills.
    if params.get("prorate") and before.get("status") in _CREDITED and not before.get("pause_collection"):
        where = "there" if params.get("invoice_now") else "to your next invoice, if there is one"
        said.append(f"{_CREDITED[before['status']]}, if there is any, is credited {where}.")
    return Closing(is_voided=is_voided, billed=" ".join(said), lost=lost)


def kept(action: Action) -> str:
    """What an undo does not bring back: phases that a schedule had in store, which the cancel had to let go of."""
    return (
        "What had been planned for later was given up with the cancellation, and does not come back."
        if action.intent.get("gave_up")
        else ""
    )
