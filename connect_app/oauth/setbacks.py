"""How a round trip to Stripe can fail, and what its page tells the owner to do. In none of these was anything changed here."""

from dataclasses import dataclass


class Setback(Exception):
    """A round trip that ends on a page of its own; `code` is a key of PAGES."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the page says."""

    status: int
    title: str
    text: str
    what_to_do: str


_AGAIN = "Start again from the beginning; it takes a minute."

PAGES = {
    "denied": Page(
        status=400,
        title="Stripe was told not to connect",
        text="On Stripe's page the request was turned down, so Holdfast has no access to the account.",
        what_to_do="If that was a slip, start again and agree on Stripe's page. You need to be an administrator of the account.",
    ),
    "expired": Page(
        status=400,
        title="That took longer than ten minutes",
        text="For safety, a connection that was begun has to be finished within ten minutes.",
        what_to_do=_AGAIN,
    ),
    "used": Page(
        status=400,
        title="This step has been used already",
        text="The way back from Stripe works once. A reloaded page, an old tab or a link that someone sent cannot finish it.",
        what_to_do="If you have just connected your account, go to the sign-in page. Otherwise start again.",
    ),
    "another_browser": Page(
        status=400,
        title="This was begun in another browser",
        text="A connection has to be finished in the browser in which it was begun. If somebody sent you this link, do not go on.",
        what_to_do="To connect an account of your own, start again in this browser, with cookies allowed.",
    ),
    "mode_mismatch": Page(
        status=400,
        title="Stripe answered for the other mode",
        text="You asked to connect one mode of the account, test or live, and Stripe authorized the other.",
        what_to_do="Start again, and leave the switch between test and live on Stripe's page as you find it. If it happens again, the "
        "operator of this server should check that the client id and the secret key belong to the same mode.",
    ),
    "controlled": Page(
        status=400,
        title="Another platform controls this account",
        text="The account was created by another platform, such as a shop or invoicing service, and Stripe lets only that platform change "
        "it. Holdfast cannot apply offers or cancels there.",
        what_to_do="Connect the Stripe account that you opened yourself. If you have none, ask that platform whether it can release the "
        "account to you.",
    ),
    "refused": Page(
        status=400,
        title="Stripe refused the connection",
        text="Stripe sent you back without a connection that can be used.",
        what_to_do="Start again. If Stripe refuses again, the operator of this server should check its Connect settings at Stripe: OAuth "
        "has to be on, and the address of this server has to be among the redirect URIs.",
    ),
    "read_only": Page(
        status=400,
        title="Stripe granted reading only",
        text="Holdfast applies offers and cancels for your customers, so it needs permission to change subscriptions, too.",
        what_to_do="Start again, and allow reading and writing on Stripe's page.",
    ),
    "stripe_away": Page(
        status=503,
        title="Stripe does not answer",
        text="Stripe could not be reached, or did not answer in time, so the connection was not finished.",
        what_to_do="Wait a minute and start again. If it lasts, look at status.stripe.com.",
    ),
    "other_workspace": Page(
        status=409,
        title="This account is connected already",
        text="The Stripe account that you chose is connected to another workspace on this server. An account belongs to one workspace in "
        "each mode.",
        what_to_do="If that workspace is yours, sign in to it with Stripe and disconnect the account there first. Otherwise choose another "
        "account.",
    ),
    "another_account": Page(
        status=409,
        title="This workspace belongs to a different account",
        text="In this mode the workspace is linked to another Stripe account, and its sessions and results are about that one.",
        what_to_do="Connect that account again. For a different account, install Holdfast on it: it gets a workspace of its own.",
    ),
    "stripe_sign_in_off": Page(
        status=403,
        title="Signing in with Stripe is switched off",
        text="The owners of this workspace have decided that members sign in by email only.",
        what_to_do="Sign in with your email address, or ask an owner to let you in.",
    ),
}
