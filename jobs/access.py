"""What is done where an account refuses us: its connection is over if it has cut us off, and stays where our own key is at fault."""

from connect_app import connections
from connect_app.models import Connection
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.errors import AccessLost
from jobs import work


def lost(rt: Runtime, claim: work.Claim, connection: Connection, loss: AccessLost) -> work.End:
    """End the connection if `loss` says that it is over, and the work with it: a reconnect asks for it anew. Else it is tried again."""
    if not loss.is_disconnected:
        return work.Again(problem=str(loss)[:500])
    with rt.transaction(claim.tenant) as session:
        connections.lost(session, claim.tenant, connection.id, at=rt.now(), reason="access_lost", actor=f"stripe:{connection.account}")
        claim.fence(session)
    return work.Done()
