"""The worker process: one queue, one warm SimpleWorker, the sweep beside it. `python -m jobs.worker actions`."""

import gc
import importlib
import signal
import sys
import threading
import time
from functools import partial
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from connect_app import config, log, runtime
from jobs import hands, queues, sweep, turns, work

logger = structlog.get_logger()

# Who delivers or acts waits for other people's servers: one that is slow must not keep the rest waiting.
HANDS = {queues.DELIVERIES: 16, queues.ACTIONS: 8}


class Worker(SimpleWorker):
    """An RQ worker that runs in its own process, without a fork per job, and hears no bell but ours."""

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        if job.func_name != queues.JOB:
            logger.error("worker.foreign_job_refused", function=str(job.func_name)[:200])
            job.delete()
            return False
        return super().perform_job(job, queue, execution)


def main(arguments: list[str]) -> int:
    """Work on one queue until told to stop; exits 2 when the settings or the database role are refused."""
    if len(arguments) != 1 or arguments[0] not in queues.QUEUES:
        sys.stderr.write(f"usage: python -m jobs.worker {'|'.join(queues.QUEUES)}\n")
        return 2
    log.configure()
    try:
        settings = config.load()
        rt = runtime.open_runtime(settings)
        rt.check_role()
    except (config.SettingsRefused, runtime.RoleTooStrong) as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 2
    if arguments[0] == queues.ACTIONS and settings.holdfast_lease_seconds < settings.longest_call:
        sys.stderr.write(f"HOLDFAST_LEASE_SECONDS: one call to Stripe may take {settings.longest_call:g} s; give at least as much\n")
        return 2
    runtime.use(rt)
    for kind in queues.KINDS.values():  # a customer is waiting: nothing is imported at the first job
        importlib.import_module(kind.handler.partition(":")[0])
    # All that was imported stays for good: the collector need not look through it again at every batch of events.
    gc.collect()
    gc.freeze()
    name = arguments[0]
    crew = hands.Hands(partial(work.heed, rt), HANDS[name], partial(turns.overdue, rt, name)) if name in HANDS else None
    work.employ(crew)
    serve(rt, name)
    if crew is not None:
        crew.rest()
    rt.close()
    return 0


def serve(rt: runtime.Runtime, queue: str) -> None:
    """Listen on `queue` until SIGTERM or SIGINT; while Redis is away the sweep works alone and the worker keeps knocking."""
    stop = threading.Event()
    thread = threading.Thread(target=sweep.forever, args=(rt, queue, stop), name="sweep", daemon=True)
    thread.start()
    logger.info("worker.ready", queue=queue)
    # Its own connection: the worker waits in it for minutes, where a doorbell gives up after half a second.
    redis = Redis.from_url(rt.settings.redis_url, socket_connect_timeout=2)

    def on_signal(*_: Any) -> None:
        stop.set()

    while not stop.is_set():
        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
        try:
            worker = Worker([Queue(queue, connection=redis, serializer=JSONSerializer)], connection=redis, serializer=JSONSerializer)
            worker.work(with_scheduler=False, logging_level="WARNING")
            # RQ's own handlers were in place meanwhile: it comes back only when it was asked to stop.
            break
        except RedisError:
            logger.warning("worker.redis_away")
            time.sleep(1)
    stop.set()
    thread.join(30)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
