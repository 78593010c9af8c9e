"""Settings -> API keys: which there are, one more, one less."""

from flask import flash, redirect
from werkzeug.wrappers import Response

from connect_app import runtime
from connect_app.admin import desk
from connect_app.admin.api_key_forms import ApiKeyForm
from connect_app.errors import Conflict
from connect_app.modes import Mode
from connect_app.workspaces import api_keys


@desk.blueprint.get("/settings/api-keys")
def api_keys_page() -> str:
    """The keys by mode."""
    return _page({})


@desk.blueprint.post("/settings/api-keys")
def make_api_key() -> Response | str | tuple[str, int]:
    """A key, shown once, in this answer."""
    rt, at, form = runtime.current(), desk.here(), ApiKeyForm()
    if not form.validate():
        return _page({form.mode.data: form}), 422
    try:
        with rt.transaction(at.workspace_id) as session:
            minted = api_keys.mint(session, at.workspace_id, Mode(form.mode.data), form.name.data, now=rt.now(), by=at.member.actor)
    except Conflict as problem:
        flash(problem.message, "attention")
        return redirect(at.path("/settings/api-keys"), 303)
    return desk.page("api_key.html", "settings", minted=minted, key_mode=form.mode.data, name=form.name.data, base_url=rt.settings.base_url)


@desk.blueprint.post("/settings/api-keys/<key_id>/revoke")
def revoke_api_key(key_id: str) -> Response:
    """End a key at once."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        api_keys.revoke(session, at.workspace_id, key_id, now=rt.now(), by=at.member.actor)
    flash("Revoked: the API answers this key no longer.", "ok")
    return redirect(at.path("/settings/api-keys"), 303)


def _page(refused: dict[str, ApiKeyForm]) -> str:
    """`refused` is what was typed and not taken, by mode."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        known = api_keys.listing(session, at.workspace_id)
    cards = {
        mode: ([one for one in known if one.mode == mode], refused.get(mode) or ApiKeyForm(formdata=None, data={"mode": str(mode)}))
        for mode in map(str, Mode)
    }
    return desk.page("api_keys.html", "settings", cards=cards)
