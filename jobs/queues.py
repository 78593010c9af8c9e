"""The names of all jobs, and asking for one: a row of the work table, and a doorbell in Redis once it is committed.

A leaf: lower layers may import it to speak upward by name.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import text
from sqlalchemy.orm import Session

from connect_app import db, ids

ACTIONS, EVENTS, DELIVERIES, UPKEEP = "actions", "events", "deliveries", "upkeep"
QUEUES = (ACTIONS, EVENTS, DELIVERIES, UPKEEP)

# The only function a doorbell may name.
JOB = "jobs.work.run"

# Asking in SQL, for whoever asks within a statement of their own; `rows` gives id, kind, row_id, workspace_id, queue, due_at. A row that
# comes back with the very due_at that was asked for wants a bell; one that was due before has been rung for.
ASK = """insert into work (id, kind, row_id, workspace_id, queue, due_at) {rows}
  on conflict (kind, row_id) do update
  set asks = work.asks + 1, due_at = least(work.due_at, excluded.due_at), attempts = 0, gave_up_at = null
  returning id, due_at"""
_ASK_ONE = text(ASK.format(rows="values (:id, :kind, :row_id, :workspace_id, :queue, :due_at)"))
_DEADLINE = text("update work set deadline = :deadline where id = :id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of work: its queue, `module:function` that does it, how often it is tried, and who is told when that was not enough.

    `given_up` is `module:function`, called with (runtime, claim, problem) under the lease before the row is put aside.
    """

    queue: str
    handler: str
    attempts: int
    given_up: str | None = None


KINDS = {
    # row_id is an action's id. At half a minute each, its tries outlast six hours of Stripe being down, however the dice fall.
    "action": Kind(queue=ACTIONS, handler="jobs.actions:perform", attempts=900, given_up="jobs.actions:give_up"),
    # row_id is the id of an action that the business's own system does: Stripe has told something of its subscription.
    "confirm": Kind(queue=ACTIONS, handler="jobs.actions:confirm", attempts=720),
    # row_id is the id of a waiting action of which an API call has said that it is done; tried for an hour.
    "prove": Kind(queue=ACTIONS, handler="jobs.actions:prove", attempts=120, given_up="jobs.actions:unproven"),
    # row_id is the id of an action that waits until another change of its subscription is settled, which is no try.
    "follow": Kind(queue=ACTIONS, handler="jobs.actions:begin", attempts=20, given_up="jobs.actions:never_begun"),
    # row_id is an action's id: after 20 s unsettled, the customer is promised an email; afterwards, told the end.
    "action_promise": Kind(queue=DELIVERIES, handler="jobs.promises:keep", attempts=20),
    # row_id is a portal link's id: a card was updated on Stripe's page, and the subscriptions follow it; tried for six hours, as an action.
    "follow_card": Kind(
        queue=ACTIONS, handler="jobs.portal_actions:follow_card", attempts=900, given_up="jobs.portal_actions:not_followed"
    ),
    # row_id is an action's id: its pause waits for the moment that comes next, until the first charge after it.
    "pause": Kind(queue=DELIVERIES, handler="jobs.pauses:watch", attempts=1000000),
    # row_id is a webhook lane's id.
    "drain": Kind(queue=EVENTS, handler="jobs.stripe_events:drain", attempts=1000000),
    # row_id is `account/mode/state/time`: events of that lane that were put aside (until that time, where one is given) go back into it.
    "requeue": Kind(queue=EVENTS, handler="jobs.requeuing:requeue", attempts=1000000),
    # row_id is a connection's id: what of it is to be read again, one turn after the other. Each object is a row of its own, for which
    # nobody rings; its row_id is `connection_id/type/object_id`.
    "reads": Kind(queue=EVENTS, handler="jobs.reads:take_turn", attempts=1000000),
    "refetch": Kind(queue=EVENTS, handler="jobs.stripe_events:refetch", attempts=20, given_up="jobs.stripe_events:refetch_given_up"),
    # row_id is a connection's id.
    "survey_fields": Kind(queue=UPKEEP, handler="jobs.field_survey:survey", attempts=20),
    # row_id is `connection_id/customer_id`, and a connection's id.
    "first_purchase": Kind(queue=UPKEEP, handler="jobs.purchases:look_up", attempts=20),
    "first_purchases": Kind(queue=UPKEEP, handler="jobs.purchases:look_up_all", attempts=20),
    # row_id is a connection's id.
    "read_in": Kind(queue=UPKEEP, handler="jobs.backfill:read_in", attempts=50, given_up="jobs.backfill:give_up"),
    "reconcile": Kind(queue=UPKEEP, handler="jobs.reconciliation:reconcile", attempts=10),
    "compare": Kind(queue=UPKEEP, handler="jobs.comparison:compare", attempts=10),
    "watch": Kind(queue=UPKEEP, handler="jobs.alerts:watch", attempts=10),
    "check_connection": Kind(queue=UPKEEP, handler="jobs.connection_checks:check", attempts=10),
    "deauthorize": Kind(queue=UPKEEP, handler="jobs.connection_checks:deauthorize", attempts=20),
    # row_id is `account/mode`, of an account that was granted and that nobody here has.
    "give_back": Kind(queue=UPKEEP, handler="jobs.connection_checks:give_back", attempts=20),
    # row_id is a session's id: what became of it is looked at again, by time and by Stripe's news; it waits in between as the same row.
    "validate": Kind(queue=UPKEEP, handler="jobs.validation:validate", attempts=1000000),
    # row_id is `workspace_id/mode`: what waits there for a person is told to the team, and the row waits for the next time.
    "remind": Kind(queue=UPKEEP, handler="jobs.reminders:remind", attempts=1000000),
    # row_id is a workspace's id: what has changed of its cases is counted into the sums of Home and Analytics.
    "count_cases": Kind(queue=UPKEEP, handler="jobs.counting:count", attempts=20),
    # row_id is jobs.schedule.ONCE.
    "retention": Kind(queue=UPKEEP, handler="jobs.retention:drop_events", attempts=10),
    # row_id is an endpoint's id: what is queued for it goes out one after the other, and the row waits for the next try.
    "outbound": Kind(queue=DELIVERIES, handler="jobs.outbound:send", attempts=1000000),
    # row_id is a delivery's id.
    "email": Kind(queue=DELIVERIES, handler="jobs.mail:deliver", attempts=12, given_up="jobs.mail:give_up"),
}


def enqueue(
    session: Session,
    kind: str,
    row_id: str,
    workspace_id: str | None,
    *,
    due_at: datetime,
    deadline: datetime | None = None,
    is_quiet: bool = False,
) -> str:
    """Ask for work inside the caller's transaction; gives the work row's id.

    Asked again while it waits or runs, it is done once more after that, at the earlier of the two times. By `deadline` it must be done, or
    it is too late: while that is near, it goes before what was rung for earlier. The doorbell leaves after commit; `is_quiet` leaves it
    out where the row was due before, and so has been rung for.
    """
    queue = KINDS[kind].queue
    values = {"id": ids.new("wrk"), "kind": kind, "row_id": row_id, "workspace_id": workspace_id, "queue": queue, "due_at": due_at}
    row = session.execute(_ASK_ONE, values).one()
    redis: Redis = session.info["redis"]
    work_id: str = row.id
    if deadline is not None:
        session.execute(_DEADLINE, {"id": work_id, "deadline": deadline})
    if not is_quiet or row.due_at == due_at:
        db.after_commit(session, lambda: ring(redis, queue, work_id))
    return work_id


def owed_to(connection_id: str) -> str:
    """What the rows of an account's owed reads have for a queue: no worker listens to it, their account's turn finds them there."""
    return f"{EVENTS}/{connection_id}"


def queue(redis: Redis, name: str) -> Queue:
    """The RQ queue called `name`. JSON only: a pickle read from Redis would be code execution."""
    return Queue(name, connection=redis, serializer=JSONSerializer)


def ring(redis: Redis, name: str, work_id: str, *, is_first: bool = False) -> None:
    """Ring for one row of work. Ringing twice is harmless, not ringing costs seconds: the claim and the sweep see to the rest.

    `is_first` goes before all that is waiting to be heard.
    """
    # The id says whose bell it is, so that whoever looks at the queue need not open each; a row may be rung for while it is in hand.
    bell = f"{work_id}-{secrets.token_hex(4)}"
    queue(redis, name).enqueue(JOB, work_id, job_id=bell, result_ttl=0, failure_ttl=300, job_timeout=300, at_front=is_first)


def rung(redis: Redis, name: str) -> list[str]:
    """The rows of work whose bells nobody has heard yet, the next to be heard first."""
    return [bell.rpartition("-")[0] for bell in queue(redis, name).get_job_ids()]
