"""Where a finished round trip leads: into a new workspace, to another account of one, back to a lost one, or through the door."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog
from sqlalchemy.orm import Session

from connect_app import audit, connections, preferences
from connect_app.modes import Mode
from connect_app.oauth.exchange import Grant
from connect_app.oauth.setbacks import Setback
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.errors import AccessLost, StripeFailure, Transient
from connect_app.stripe_gateway.objects import Account
from connect_app.workspaces import accounts, directory, members, openings
from connect_app.workspaces.access import Member
from jobs import queues

log = structlog.get_logger()

# What a business would count as its subscribers.
_COUNTED = {"active", "trialing", "past_due"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """The end of a round trip.

    `opened`: a new workspace, or one whose owner has not confirmed an address yet. `linked`: a workspace's first account in this mode.
    `again`: a connection that stands again. `sign_in`: an owner through Stripe; `is_again` where that brought a lost connection back.
    """

    kind: Literal["opened", "linked", "again", "sign_in"]
    place: directory.Place
    connection_id: str
    connected_at: datetime
    is_again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The account as it looked when it came: `active` counts subscriptions ("12", "100+"), None where that could not be told."""

    account: Account
    active: str | None


def look(rt: Runtime, grant: Grant) -> Seen:
    """Read who the account is, and count its subscribers.

    Raises Setback where Stripe does not say who it is; what was granted for nothing is given back.
    """
    stripe = rt.quick_stripe(grant.mode).account(grant.account)
    try:
        account = stripe.account().value
    except StripeFailure as failure:
        log.warning("oauth.account_unread", code=failure.code, stripe_request_id=failure.request_id)
        _give_back(rt, grant.account, grant.mode)
        raise Setback("refused" if isinstance(failure, AccessLost) else "stripe_away") from None
    try:
        page = stripe.subscriptions(status=None, limit=100).value
    except StripeFailure:
        return Seen(account=account, active=None)
    active = sum(subscription.status in _COUNTED for subscription in page.items)
    return Seen(account=account, active=f"{active}+" if page.has_more else str(active))


def arrive_for(rt: Runtime, who: Member, grant: Grant, account: Account) -> Arrival:
    """An owner's round trip for their workspace. Raises Setback; what was granted for nothing is given back to Stripe."""
    now = rt.now()
    try:
        with rt.transaction(who.workspace.id) as session:
            linked = accounts.link_or_relink(
                session, who.workspace.id, account=account, mode=grant.mode, scope=grant.scope, now=now, ring=rt.ring, by=who.actor
            )
    except accounts.Taken:
        raise Setback("other_workspace") from None
    except accounts.AnotherAccount:
        _give_back(rt, grant.account, grant.mode)
        raise Setback("another_account") from None
    if linked.replaced is not None:
        _give_back(rt, linked.replaced, grant.mode)
    kind: Literal["again", "linked"] = "again" if linked.is_again else "linked"
    return Arrival(kind=kind, place=who.workspace, connection_id=linked.connection_id, connected_at=now)


def arrive(rt: Runtime, grant: Grant, account: Account, user_id: str | None) -> Arrival:
    """A round trip that began at no workspace: the account's own where it has or had one, else a new one, owned by the user signed in.

    Raises Setback where that workspace does not let its owners in through Stripe.
    """
    for _ in range(2):
        now = rt.now()
        try:
            known = _arrive_at_known(rt, grant, account)
            if known is not None:
                return known
            with rt.transaction() as session:
                opened = openings.create(
                    session,
                    account=account,
                    mode=grant.mode,
                    scope=grant.scope,
                    now=now,
                    ring=rt.ring,
                    by=user_id or f"stripe:{account.id}",
                )
                if user_id is not None:
                    members.make_owner(session, opened.place.id, user_id, now)
        except accounts.Taken:
            continue  # the same account came through another door in the same moment: it is there by now
        return Arrival(kind="opened", place=opened.place, connection_id=opened.connection_id, connected_at=now)
    raise Setback("stripe_away")


def _arrive_at_known(rt: Runtime, grant: Grant, account: Account) -> Arrival | None:
    now = rt.now()
    with rt.transaction() as session:
        home = connections.remembered(session, grant.account, grant.mode)
        place = directory.by_id(session, home.workspace_id) if home else None
    if home is None or place is None:
        return None
    with rt.transaction(place.id) as session:
        is_owned = members.has_owner(session, place.id)
        is_open = not is_owned or preferences.read(session, place.id).stripe_sign_in
        if is_open and home.is_active:
            accounts.authorized_again(session, home.connection_id, scope=grant.scope, now=now)
        elif is_open:
            by = f"stripe:{grant.account}"
            accounts.link_or_relink(session, place.id, account=account, mode=grant.mode, scope=grant.scope, now=now, ring=rt.ring, by=by)
        if is_open and is_owned:
            _note_sign_in(session, place.id, grant.account, now)
    if not is_open:
        _give_back(rt, grant.account, grant.mode)
        raise Setback("stripe_sign_in_off")
    return Arrival(
        kind="sign_in" if is_owned else "opened",
        place=place,
        connection_id=home.connection_id,
        connected_at=now,
        is_again=not home.is_active,
    )


def _note_sign_in(session: Session, workspace_id: str, account: str, now: datetime) -> None:
    audit.record(session, workspace_id, actor=f"stripe:{account}", verb="signed_in", at=now, details={"by": "stripe"})


def _give_back(rt: Runtime, account: str, mode: Mode) -> None:
    """An account that nobody here has must not stay open to us: now, or as soon as Stripe answers."""
    with rt.transaction() as session:
        if connections.locate(session, account, mode) is not None:
            return
    try:
        rt.quick_stripe(mode).deauthorize(account)
    except Transient:
        with rt.transaction() as session:
            queues.enqueue(session, "give_back", f"{account}/{mode}", None, due_at=rt.now())
    except StripeFailure as failure:
        log.warning("oauth.not_given_back", account=account, code=failure.code)
