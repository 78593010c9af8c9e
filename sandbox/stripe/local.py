"""The local Stripe itself: one object that holds everything and answers every request."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sandbox.stripe import accounts, api, checkout_pages, control, oauth, pages, portal_pages
from sandbox.stripe.clock import Clock
from sandbox.stripe.deliveries import Deliveries, Send
from sandbox.stripe.faults import Faults
from sandbox.stripe.idempotency import Keys
from sandbox.stripe.wire import Obj, Reply, Request
from sandbox.stripe.worlds import World, clone, word


class LocalStripe:
    """A stateful stand-in for Stripe, in memory. `answer` is its only door; keys and client ids go by `livemode`."""

    def __init__(
        self,
        *,
        base_url: str = "http://127.0.0.1:8001",
        keys: dict[bool, str] | None = None,
        client_ids: dict[bool, str] | None = None,
        redirect_uris: Sequence[str] = (),
        platform_name: str = "Holdfast",
    ) -> None:
        self.lock = threading.RLock()
        self.base_url = base_url
        self.keys = keys or {False: "sk_test_" + word(24), True: "sk_live_" + word(24)}
        self.client_ids = client_ids or {False: "ca_" + word(32), True: "ca_" + word(32)}
        self.redirect_uris = list(redirect_uris)
        self.platform_name = platform_name
        self.worlds: dict[tuple[str, bool], World] = {}
        self.accounts: dict[str, Obj] = {}
        self.controlled: set[str] = set()
        """Accounts that another platform controls."""
        self.connections: dict[tuple[str, bool], str] = {}
        """The scope granted, by account and mode."""
        self.tokens: dict[str, tuple[str, bool]] = {}
        """Whose access token it is."""
        self.codes: dict[str, Obj] = {}
        self.endpoint_secrets: dict[str, str] = {}
        self.faults = Faults()
        self.requests: list[Obj] = []
        self.effects: list[Obj] = []
        self.seeded: Obj = {}
        self.is_quiet = False
        """True while history is made that nobody is told of."""
        self.clock = Clock(self)
        self.idempotency = Keys(self.clock.now)
        self.deliveries = Deliveries(self)
        self.platform = accounts.make(self, platform_name, "platform@holdfast.example")["id"]

    def world(self, account: str, livemode: bool) -> World:
        """What this account holds in this mode."""
        key = (account, livemode)
        if key not in self.worlds:
            made = self.worlds[key] = World(account=account, livemode=livemode)
            if twin := self.worlds.get((account, not livemode)):
                made.twin, twin.twin = twin, made
        return self.worlds[key]

    def mode_of_client(self, client_id: str) -> bool | None:
        """The mode this client id belongs to: True is live; None when it is nobody's."""
        return next((livemode for livemode, id in self.client_ids.items() if id == client_id), None)

    def answer(self, request: Request) -> Reply:
        """Answer one request to any path. Raises `Dropped` when the caller is to get no answer at all."""
        path = request.path
        if path.startswith("/v1/"):
            return api.answer(self, request)
        if path == "/oauth/token" and request.method == "POST":
            return api.answer_oauth(self, request, oauth.token)
        if path == "/oauth/deauthorize" and request.method == "POST":
            return api.answer_oauth(self, request, oauth.deauthorize)
        with self.lock:
            self.clock.settle()
            if path == "/oauth/authorize" and request.method in ("GET", "POST"):
                return oauth.authorize(self, request)
            if path.startswith("/p/session/"):
                return portal_pages.answer(self, request)
            if path.startswith("/c/pay/"):
                return checkout_pages.answer(self, request)
            if path.startswith("/_sandbox"):
                return control.answer(self, request)
        if path == "/" and request.method == "GET":
            return pages.page(
                "Local Stripe", "<h1>Local Stripe</h1><p>The API is under /v1, OAuth under /oauth, controls under /_sandbox.</p>"
            )
        return pages.problem("There is no such page.", 404)

    def events(self, account: str | None = None, type: str | None = None) -> list[Obj]:
        """Every event so far, oldest first, of all accounts or one, of all types or one."""
        with self.lock:
            found = [
                event
                for world in self.worlds.values()
                if account in (None, world.account)
                for event in world.all("event")
                if type in (None, event["type"])
            ]
            return clone(sorted(found, key=lambda event: int(event["created"])))  # type: ignore[no-any-return]

    def deliver(self, send: Send) -> int:
        """Make every waiting webhook delivery now, through `send(url, body, headers) -> status`; says how many were tried."""
        return self.deliveries.deliver(send)
