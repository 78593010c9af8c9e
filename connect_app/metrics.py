"""What the operator's Prometheus sees: counters of requests and the state of the queues, read when asked."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from sqlalchemy import text

from connect_app.runtime import Runtime

REQUESTS = Counter("holdfast_requests_total", "Answered requests.", ["endpoint", "method", "status"])
SECONDS = Histogram("holdfast_request_seconds", "Time to answer.", ["endpoint"], buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5))
EVENTS_KEPT = Counter("holdfast_webhook_events_kept_total", "Webhook events durably kept.")


def render(rt: Runtime) -> bytes:
    """The text of `/metrics`: this process's counters, and the queues as they stand in the database."""
    registry = CollectorRegistry()
    due = Gauge("holdfast_work_due", "Work that is due.", ["queue"], registry=registry)
    lag = Gauge("holdfast_work_oldest_due_seconds", "How long the oldest due work has waited.", ["queue"], registry=registry)
    given_up = Gauge("holdfast_work_given_up", "Work that was given up.", ["kind"], registry=registry)
    for queue, count, seconds in queue_lag(rt):
        due.labels(queue).set(count)
        lag.labels(queue).set(seconds)
    with rt.transaction() as session:
        for row in session.execute(text("select kind, count(*) as n from work where gave_up_at is not null group by kind")):
            given_up.labels(row.kind).set(row.n)
    return generate_latest() + generate_latest(registry)


def queue_lag(rt: Runtime) -> list[tuple[str, int, float]]:
    """(queue, rows due, seconds the oldest has waited), for queues with something due."""
    with rt.transaction() as session:
        rows = session.execute(
            text(
                "select queue, count(*) as n, extract(epoch from (cast(:now as timestamptz) - min(due_at))) as oldest from work"
                " where gave_up_at is null and due_at <= :now group by queue"
            ),
            {"now": rt.now()},
        )
        return [(row.queue, row.n, float(row.oldest)) for row in rows]
