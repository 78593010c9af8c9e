"""Letters to the owners of a workspace, or others of its team: to each of them, in test mode to the first only."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import Membership, User, Workspace
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from jobs import mail


def first(session: Session, workspace_id: str) -> str | None:
    """The address that test mode writes to; None before anybody has confirmed one."""
    found = select(User.email).join(Membership, Membership.user_id == User.id)
    mine = found.where(Membership.workspace_id == workspace_id, Membership.role == "owner")
    return session.execute(mine.order_by(Membership.created_at, User.id).limit(1)).scalar_one_or_none()


def write(
    rt: Runtime,
    session: Session,
    workspace_id: str,
    mode: str,
    *,
    topic: str,
    subject: str,
    lines: Sequence[str],
    page: str,
    sign: str,
    roles: Sequence[str] = ("owner",),
) -> None:
    """Ask for the letter, once for each of those with these roles and topic.

    `page` is a path below the workspace's dashboard, such as `/settings/stripe`.
    """
    owners = session.execute(
        select(User.id, User.email)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.workspace_id == workspace_id, Membership.role.in_(roles))
        .order_by(Membership.created_at, User.id)
    ).all()
    place = session.execute(select(Workspace.slug).where(Workspace.id == workspace_id)).scalar_one()
    link = f"{rt.settings.base_url}/admin/{place}{page}?mode={mode}"
    is_test = mode == Mode.TEST
    for owner in owners[:1] if is_test else owners:
        mail.ask(
            session,
            workspace_id=workspace_id,
            topic=f"{topic}/{owner.id}",
            to=owner.email,
            subject=f"{'[Test] ' if is_test else ''}{subject}",
            text="\n\n".join(["Hello,", *lines, link, sign]) + "\n",
            now=rt.now(),
        )
