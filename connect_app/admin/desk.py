"""The desk a member sits at: who they are, which mode they look at, and what every page of the dashboard shows around its own matter."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, g, render_template, request
from flask import session as cookie

from connect_app import connections, policy, runtime
from connect_app.errors import InvalidRequest, NotFound
from connect_app.models import Connection
from connect_app.modes import Mode
from connect_app.workspaces import access
from jobs import actions

blueprint = Blueprint("admin", __name__, url_prefix="/admin/<workspace>")

# What no text of the database can hold: NUL, and half a surrogate pair.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """`connections` has a row for each mode that was ever connected; `waiting` counts what needs a person, by mode."""

    member: access.Member
    mode: Mode
    connections: Mapping[str, Connection]
    waiting: Mapping[str, int]

    @property
    def workspace_id(self) -> str:
        return self.member.workspace.id

    @property
    def connection(self) -> Connection | None:
        """The present mode's connection, connected or not."""
        return self.connections.get(self.mode)

    @property
    def connection_id(self) -> str | None:
        return self.connection.id if self.connection else None

    def path(self, rest: str = "") -> str:
        """An address of this workspace's dashboard, such as `path("/sessions")`."""
        return f"/admin/{self.member.workspace.slug}{rest}"


@blueprint.url_value_preprocessor
def _take_slug(_endpoint: str | None, values: dict[str, object] | None) -> None:
    """Views find the workspace at their desk; only the gate needs its slug."""
    g.slug = (values or {}).pop("workspace", "")


@blueprint.before_request
def enter() -> None:
    """Let in whom the policy table lets in, and lay the desk for them. What could not even be looked for is refused first."""
    if any(_UNSTORABLE.search(part) for part in (g.slug, *map(str, (request.view_args or {}).values()))):
        raise NotFound(code="not_found", message="There is nothing at this address.")
    who = access.member(g.slug)
    access.require(who, policy.needs(request.endpoint))
    for name, value in request.form.items(multi=True):
        if _UNSTORABLE.search(name + value):
            raise InvalidRequest(code="invalid_request", message="A field holds characters that cannot be kept.")
    with runtime.current().transaction(who.workspace.id) as session:
        kept = {row.mode: row for row in connections.every(session, who.workspace.id)}
        counts = actions.waiting_counts(session, who.workspace.id)
    g.desk = Desk(member=who, mode=_mode(who.workspace.id, kept), connections=kept, waiting=counts)


def here() -> Desk:
    """The desk of the current request."""
    desk: Desk = g.desk
    return desk


def look_at(mode: Mode) -> None:
    """Show this mode from now on, in this browser."""
    cookie[_key(here().workspace_id)] = str(mode)


def page_number() -> int:
    """The page of a list that the address asks for, from 1; no list has more than a million."""
    return min(max(1, request.args.get("page", 1, type=int)), 1_000_000)


def searched(most: int, name: str = "q") -> str:
    """What a list is searched for, at most so many characters, and none that nothing can hold."""
    return _UNSTORABLE.sub("", request.args.get(name, "")).strip()[:most]


def typed(most: int, name: str) -> str:
    """What a field of a form that only looks was filled in with, at most so many characters."""
    return request.form.get(name, "").strip()[:most]


def page(template: str, nav: str, **content: object) -> str:
    """A page of the dashboard, with the frame around it."""
    desk = here()
    return render_template(
        f"admin/{template}",
        desk=desk,
        workspace=desk.member.workspace,
        mode=str(desk.mode),
        modes={mode: desk.path(f"/mode/{mode}") for mode in desk.connections},
        nav_active=nav,
        manual_count=desk.waiting.get(desk.mode, 0),
        member=desk.member.label,
        connection=desk.connection,
        may={role: desk.member.at_least(role) for role in (policy.EDITOR, policy.ADMIN, policy.OWNER)},
        **content,
    )


def _mode(workspace_id: str, kept: Mapping[str, Connection]) -> Mode:
    """The mode that the address names or this browser chose, where there is one; else the one that earns money."""
    if (named := request.args.get("mode")) in kept:
        cookie[_key(workspace_id)] = named
    wanted = cookie.get(_key(workspace_id))
    if isinstance(wanted, str) and wanted in kept:
        return Mode(wanted)
    return Mode.LIVE if Mode.LIVE in kept else Mode.TEST


def _key(workspace_id: str) -> str:
    return f"mode:{workspace_id}"
