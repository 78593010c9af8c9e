"""The ledger of actions as a key may read it: of its own workspace and mode, the newest first."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.api.shapes import Question
from connect_app.errors import NotFound
from connect_app.models import Action
from connect_app.workspaces.api_keys import Holder


def page(session: Session, holder: Holder, asked: Question) -> tuple[list[Action], bool]:
    """What was asked for, and whether there is more of it. Raises NotFound for a `starting_after` that is no action of theirs."""
    rows = select(Action).where(Action.workspace_id == holder.workspace_id, Action.mode == holder.mode)
    if asked.state is not None:
        rows = rows.where(Action.state == asked.state)
    if asked.session is not None:
        rows = rows.where(Action.session_id == asked.session)
    if asked.subscription is not None:
        rows = rows.where(Action.subscription == asked.subscription)
    if asked.starting_after is not None:
        one(session, holder, asked.starting_after, "starting_after")
        rows = rows.where(Action.id < asked.starting_after)
    # Ids begin with the time they were made at.
    found = list(session.execute(rows.order_by(Action.id.desc()).limit(asked.limit + 1)).scalars())
    return found[: asked.limit], len(found) > asked.limit


def one(session: Session, holder: Holder, action_id: str, param: str | None = None) -> Action:
    """An action of theirs. Raises NotFound, naming `param`."""
    theirs = Action.workspace_id == holder.workspace_id, Action.mode == holder.mode, Action.id == action_id
    found = session.execute(select(Action).where(*theirs)).scalar_one_or_none()
    if found is None:
        raise NotFound(
            code="not_found", message=f"There is no action {action_id} in {holder.mode} mode of the workspace of this key.", param=param
        )
    return found
