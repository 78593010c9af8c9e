"""Logs: one JSON object a line on standard output, with request and job ids, and without bodies, headers, secrets or link tokens."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# A token opens a customer's page: it is never written down, wherever it appears.
_TOKENS = re.compile(r"(?<![A-Za-z0-9])((?:ses|plk|lgn)_[0-9a-z]{26})\.[A-Za-z0-9_-]{1,32}\.[A-Za-z0-9_-]{43}")
# The alphabets of base64 as well, which webhooks' secrets are written in, also as a URL writes them.
_SECRETS = re.compile(r"(?<![A-Za-z0-9])(sk|rk|whsec|hf_embed|hf_key)_[A-Za-z0-9_+/=%-]+")


def configure(level: int = logging.INFO) -> None:
    """Send everything, the libraries' own logging too, through one pipeline."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def redact(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank tokens and secrets in every text of a log entry."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = scrub(value)
    return event


def scrub(text: str) -> str:
    """`text` with link tokens cut to their row id and secrets to their prefix."""
    return _SECRETS.sub(r"\1_[hidden]", _TOKENS.sub(r"\1.[hidden]", text))
