"""Published versions of flows: which one a new session gets, and its document, parsed once a process because it never changes."""

import functools
import json

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import Flow, FlowVersion
from connect_app.models.base import Json
from flow_pages import document


def published(session: Session, workspace_id: str, kind: str) -> FlowVersion | None:
    """The published version of the workspace's `default` or `control` flow; None before the workspace has been given its flows."""
    return session.execute(
        select(FlowVersion)
        .join(Flow, (Flow.workspace_id == FlowVersion.workspace_id) & (Flow.published_version_id == FlowVersion.id))
        .where(Flow.workspace_id == workspace_id, Flow.kind == kind)
    ).scalar_one_or_none()


def read(value: Json) -> document.Flow:
    """The flow in a version's document. A published one was validated, so this does not fail for what came from the table."""
    return _read(json.dumps(value, sort_keys=True))


@functools.lru_cache(maxsize=512)
def _read(text: str) -> document.Flow:
    return document.Flow.model_validate_json(text)
