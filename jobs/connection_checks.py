"""Looking after a connection: can we read and write there, is Stripe's own cancel open, and giving up our access."""

from connect_app import connections, ids
from connect_app.models import Connection
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.account import AccountGateway
from connect_app.stripe_gateway.calls import Call
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from jobs import access, work


def check(rt: Runtime, claim: work.Claim) -> work.End:
    """Find out what the connection `claim.row_id` lets us do, and write it down for Settings."""
    with rt.transaction(claim.tenant) as session:
        connection = connections.by_id(session, claim.row_id)
    if connection is None or connection.state != "connected":
        return work.Done()
    account = rt.stripe(connection.mode).account(connection.account)
    try:
        account.account()
        can_write = _can_write(account, connection)
        is_open = _is_portal_cancel_open(account)
    except AccessLost as loss:
        return access.lost(rt, claim, connection, loss)
    except Transient as failure:
        return work.Again(problem=str(failure))
    except Refused as refusal:
        with rt.transaction(claim.tenant) as session:
            claim.fence(session)
            connections.checked(session, connection.id, at=rt.now(), can_read=False, can_write=False, portal_cancel_open=None)
        return work.GiveUp(problem=str(refusal))
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        connections.checked(session, connection.id, at=rt.now(), can_read=True, can_write=can_write, portal_cancel_open=is_open)
    return work.Done()


def deauthorize(rt: Runtime, claim: work.Claim) -> work.End:
    """Give up our access to the account of a connection that was ended here. "Not connected" counts as done."""
    with rt.transaction(claim.tenant) as session:
        connection = connections.by_id(session, claim.row_id)
        home = connections.locate(session, connection.account, connection.mode) if connection else None
    if connection is None or home is not None:
        return work.Done()  # connected again meanwhile, here or by another workspace: the wish is out of date
    return _give_up_access(rt, connection.account, connection.mode)


def give_back(rt: Runtime, claim: work.Claim) -> work.End:
    """Give up our access to an account (`account/mode`) whose round trip ended in nothing, unless a later one has connected it."""
    account, _, mode = claim.row_id.partition("/")
    with rt.transaction() as session:
        home = connections.locate(session, account, mode)
    return work.Done() if home is not None else _give_up_access(rt, account, mode)


def _give_up_access(rt: Runtime, account: str, mode: str) -> work.End:
    try:
        rt.stripe(mode).deauthorize(account)
    except Transient as failure:
        return work.Again(problem=str(failure))
    except (AccessLost, Refused) as failure:
        return work.GiveUp(problem=str(failure))
    return work.Done()


def _can_write(account: AccountGateway, connection: Connection) -> bool:
    """Ask for a change to a subscription that cannot exist: with leave to write Stripe misses it, without it Stripe refuses."""
    if connection.scope != "read_write":
        return False
    nothing = Call(method="subscriptions.update", target="sub_holdfast_may_we_write", params={"metadata": {"holdfast": "check"}})
    try:
        account.write(nothing, idempotency_key=f"hf:check:{ids.new('chk')}")
    except Missing:
        return True
    except Refused:
        return False
    return True


def _is_portal_cancel_open(account: AccountGateway) -> bool | None:
    """Whether any active configuration of Stripe's portal lets customers cancel there; None where we may not look."""
    after = None
    try:
        while True:
            page = account.portal_configurations(after=after).value
            if any(configuration.active and configuration.cancel_enabled for configuration in page.items):
                return True
            if not page.has_more or page.last_id is None:
                return False
            after = page.last_id
    except Refused:
        return None
