"""What the operator's Prometheus sees: counters of requests and the state of the queues, read when asked."""

import os
from collections.abc import Iterable

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from connect_app.runtime import Runtime

log = structlog.get_logger()

REQUESTS = Counter("holdfast_requests_total", "Answered requests.", ["endpoint", "method", "status"])
SECONDS = Histogram("holdfast_request_seconds", "Time to answer.", ["endpoint"], buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5))
EVENTS_KEPT = Counter("holdfast_webhook_events_kept_total", "Webhook events durably kept.")


# The look-up of accounts is what may be read across tenants; see connect_app.connections.publish.
_DRIFT = (
    "select each.key as kind, sum(cast(each.value as int)) as n from account_lookups, jsonb_each_text(health -> 'drift') as each group by 1"
)
_ALERTS = "select kind, count(*) as n from account_lookups, jsonb_array_elements_text(health -> 'alerts') as kind group by 1"


class _Queues(Collector):
    """The queues and the accounts as they stand in the database, the same whichever process is asked."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("holdfast_database_up", "Whether the database answers; while it does not, nothing of it is told.")
        try:
            read = self._read()
        except SQLAlchemyError:
            log.warning("metrics.database_away")
            read = ()
        up.add_metric([], float(bool(read)))
        return (up, *read)

    def _read(self) -> tuple[Metric, ...]:
        due = GaugeMetricFamily("holdfast_work_due", "Work that is due.", labels=["queue"])
        lag = GaugeMetricFamily("holdfast_work_oldest_due_seconds", "How long the oldest due work has waited.", labels=["queue"])
        given_up = GaugeMetricFamily("holdfast_work_given_up", "Work that was given up.", labels=["kind"])
        drift = GaugeMetricFamily("holdfast_mirror_drift", "Objects that the last comparisons found held wrongly.", labels=["kind"])
        alerts = GaugeMetricFamily("holdfast_alerts_open", "Alerts that owners have been told of and that stand.", labels=["kind"])
        for queue, count, seconds in queue_lag(self._rt):
            due.add_metric([queue], count)
            lag.add_metric([queue], seconds)
        with self._rt.transaction() as session:
            for row in session.execute(text("select kind, count(*) as n from work where gave_up_at is not null group by kind")):
                given_up.add_metric([row.kind], row.n)
            for row in session.execute(text(_DRIFT)):
                drift.add_metric([row.kind], float(row.n))
            for row in session.execute(text(_ALERTS)):
                alerts.add_metric([row.kind], row.n)
        return due, lag, given_up, drift, alerts


def render(rt: Runtime) -> bytes:
    """The text of `/metrics`: the counters of all web processes that share PROMETHEUS_MULTIPROC_DIR, else of this one, and the queues."""
    queues = CollectorRegistry()
    queues.register(_Queues(rt))
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest() + generate_latest(queues)
    counters = CollectorRegistry()
    MultiProcessCollector(counters)  # type: ignore[no-untyped-call]
    return generate_latest(counters) + generate_latest(queues)


def queue_lag(rt: Runtime) -> list[tuple[str, int, float]]:
    """(queue, rows due, seconds the oldest has waited), for queues with something due."""
    with rt.transaction() as session:
        rows = session.execute(
            text(
                "select split_part(queue, '/', 1) as queue, count(*) as n,"
                " extract(epoch from (cast(:now as timestamptz) - min(due_at))) as oldest from work"
                " where gave_up_at is null and due_at <= :now group by 1"
            ),
            {"now": rt.now()},
        )
        return [(row.queue, row.n, float(row.oldest)) for row in rows]
