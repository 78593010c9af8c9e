"""Whose browser this is: a user, an owner who came through Stripe, or the operator; and when each of their visits ends."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import Flask, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from sqlalchemy import select, update

from connect_app import connections, preferences, runtime
from connect_app.models import User
from connect_app.modes import Mode
from connect_app.workspaces import members

# However busy the visitor is.
LASTS = timedelta(hours=12)
_OPERATOR = "operator"


@dataclass(frozen=True, kw_only=True, eq=False)
class Visitor(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """Somebody signed in. `actor` is how the audit log names them; whoever is no user (`user_id` None) is at home in one workspace only.

    `key` is what the cookie keeps; everything it says is checked again on each request.
    """

    key: str
    actor: str
    label: str
    user_id: str | None = None
    workspace_id: str | None = None
    since: datetime

    def get_id(self) -> str:
        return self.key


def install(app: Flask) -> None:
    """Let Flask-Login find the visitor of each request."""
    manager = LoginManager()
    # An address that changes on the train must not end a visit; a stolen cookie ends with its version or its 12 hours.
    manager.session_protection = None
    manager.user_loader(_find)
    manager.init_app(app)


def visitor() -> Visitor | None:
    """Who is signed in, if anybody is."""
    return current_user._get_current_object() if current_user.is_authenticated else None


def enter_as_user(user_id: str) -> None:
    """Sign this browser in as a user: whatever its session held before is gone."""
    with runtime.current().transaction() as db_session:
        version = db_session.execute(select(User.session_version).where(User.id == user_id)).scalar_one()
    _enter(f"user|{user_id}|{version}")


def enter_via_stripe(workspace_id: str, account: str, mode: Mode) -> None:
    """Sign this browser in as an owner who has just shown control of the workspace's Stripe account."""
    _enter(f"stripe|{workspace_id}|{account}|{mode}")


def enter_as_operator(workspace_id: str) -> None:
    """Sign this browser in as the operator, in one workspace."""
    _enter(f"{_OPERATOR}|{workspace_id}")


def leave() -> None:
    """Sign out, for good: a copy of the cookie opens nothing either. A user's other browsers are signed out with this one."""
    rt, gone = runtime.current(), visitor()
    if gone is not None:
        with rt.transaction(gone.workspace_id) as db_session:
            if gone.user_id is not None:
                db_session.execute(update(User).where(User.id == gone.user_id).values(session_version=User.session_version + 1))
            elif gone.workspace_id is not None:
                now = rt.now()
                preferences.save(db_session, gone.workspace_id, "visits_end_before", now.isoformat(), now)
    logout_user()
    session.clear()


def _enter(key: str) -> None:
    # Session rotation: nothing that was put into this browser before may be part of the visit.
    session.clear()
    session["since"] = runtime.current().now().timestamp()
    found = _find(key)
    if found is None:
        raise RuntimeError("somebody was let in who may not enter")
    login_user(found)


def _find(key: str) -> Visitor | None:
    rt = runtime.current()
    since = datetime.fromtimestamp(float(session.get("since", 0)), UTC)
    if not since <= rt.now() < since + LASTS:
        return None
    match key.split("|"):
        case ["user", user_id, version]:
            with rt.transaction() as db_session:
                row = db_session.execute(select(User.email, User.session_version).where(User.id == user_id)).first()
            if row is None or str(row.session_version) != version:
                return None
            return Visitor(key=key, actor=user_id, label=row.email, user_id=user_id, since=since)
        case ["stripe", workspace_id, account, mode]:
            with rt.transaction(workspace_id) as db_session:
                home = connections.locate(db_session, account, mode)
                settings = preferences.read(db_session, workspace_id)
                may = settings.stripe_sign_in or not members.has_owner(db_session, workspace_id)
            if home is None or home.workspace_id != workspace_id or not may or _is_over(settings, since):
                return None
            return Visitor(key=key, actor=f"stripe:{account}", label=f"Owner via Stripe {account}", workspace_id=workspace_id, since=since)
        case ["operator", workspace_id]:
            with rt.transaction(workspace_id) as db_session:
                settings = preferences.read(db_session, workspace_id)
            if _is_over(settings, since):
                return None
            return Visitor(key=key, actor=_OPERATOR, label="Operator", workspace_id=workspace_id, since=since)
    return None


def _is_over(settings: preferences.Preferences, since: datetime) -> bool:
    return settings.visits_end_before is not None and since <= settings.visits_end_before
