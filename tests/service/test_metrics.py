"""The numbers are of all web processes, whichever is asked."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from connect_app import db, metrics
from connect_app.runtime import Runtime
from tests import make

COUNT = "from connect_app import metrics; metrics.EVENTS_KEPT.inc()"
TELL = (
    "from connect_app import config, metrics, runtime\n"
    "rt = runtime.open_runtime(config.load())\n"
    "metrics.EVENTS_KEPT.inc()\n"
    "print(metrics.render(rt).decode())"
)


def process(program: str, environ: dict[str, str]) -> str:
    return subprocess.run([sys.executable, "-c", program], env=environ, check=True, capture_output=True, text=True).stdout


def test_each_process_counts_and_any_tells_the_sum(rt: Runtime, tmp_path: Path) -> None:
    environ = {
        **make.environ(),
        "DATABASE_URL": rt.settings.database_url,
        "REDIS_URL": rt.settings.redis_url,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    process(COUNT, environ)
    process(COUNT, environ)
    told = process(TELL, environ)
    assert "holdfast_webhook_events_kept_total 3.0" in told
    assert "# TYPE holdfast_work_due gauge" in told


def test_while_the_database_is_away_the_rest_is_told(rt: Runtime) -> None:
    assert "holdfast_database_up 1.0" in metrics.render(rt).decode()
    away = dataclasses.replace(rt, sessions=db.sessions(db.engine("postgresql+psycopg://nobody@/nowhere?host=/nonexistent"), rt.redis))
    told = metrics.render(away).decode()
    assert "holdfast_database_up 0.0" in told
    assert "holdfast_webhook_events_kept_total" in told
    assert "holdfast_work_due{" not in told
