"""Audiences: rules over variables, how many customers each means, and building one without JavaScript."""

from flask import flash, redirect, request
from werkzeug.wrappers import Response

from connect_app import runtime
from connect_app.admin import audience_editor, desk
from connect_app.admin import audiences as shelf
from connect_app.admin.audience_editor import Draft


@desk.blueprint.get("/audiences")
def audiences() -> str:
    """All audiences with their counts in this mode."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        listed = shelf.listing(session, at.workspace_id)
        counts = shelf.counts(session, at.workspace_id, at.connection_id, listed, rt.now())
        used = shelf.used(session, at.workspace_id, listed)
    return desk.page("audiences.html", "audiences", listed=listed, counts=counts, used=used)


@desk.blueprint.get("/audiences/new")
def new_audience() -> str:
    """An empty rule to build on."""
    return _page(audience_editor.blank(), None)


@desk.blueprint.post("/audiences/new")
def make_audience() -> Response | str | tuple[str, int]:
    """One more button of the editor, or the audience kept."""
    return _turn(None)


@desk.blueprint.get("/audiences/<audience_id>")
def audience(audience_id: str) -> str:
    """One audience: its rule, and whom it means."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        kept = shelf.one(session, at.workspace_id, audience_id)
    return _page(audience_editor.of_rule(kept.name, kept.rule), kept)


@desk.blueprint.post("/audiences/<audience_id>")
def change_audience(audience_id: str) -> Response | str | tuple[str, int]:
    """One more button of the editor, or the audience kept as it is now."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        kept = shelf.one(session, at.workspace_id, audience_id)
    return _turn(kept)


@desk.blueprint.post("/audiences/<audience_id>/delete")
def delete_audience(audience_id: str) -> Response:
    """Take an audience away."""
    rt, at = runtime.current(), desk.here()
    try:
        with rt.transaction(at.workspace_id) as session:
            name = shelf.remove(session, at.workspace_id, audience_id, rt.now(), at.member.actor)
    except shelf.NotKept as refused:
        flash(str(refused), "failed")
        return redirect(at.path(f"/audiences/{audience_id}"), 303)
    flash(f"“{name}” is deleted.", "ok")
    return redirect(at.path("/audiences"), 303)


def _turn(kept: shelf.Listed | None) -> Response | str | tuple[str, int]:
    """Do what the pressed button says: save and leave, or show the page again with the tree changed."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        types, currency = shelf.ground(session, at.workspace_id, at.connection_id)
    draft, done = audience_editor.of_form(request.form, types, currency)
    if done not in ("save", "show"):
        return _page(draft, kept)
    draft.check()
    if done == "show":
        return _page(draft, kept)
    try:
        if (rule := draft.rule) is None:
            return _page(draft, kept), 422
        with rt.transaction(at.workspace_id) as session:
            audience_id = shelf.save(session, at.workspace_id, kept.id if kept else None, draft.name, rule, rt.now(), at.member.actor)
    except shelf.NotKept as refused:
        draft.name_flaw = str(refused)
        return _page(draft, kept), 422
    flash("Saved.", "ok")
    return redirect(at.path(f"/audiences/{audience_id}"), 303)


def _page(draft: Draft, kept: shelf.Listed | None) -> str:
    rt, at = runtime.current(), desk.here()
    rule = draft.rule
    with rt.transaction(at.workspace_id) as session:
        view = shelf.preview(session, at.workspace_id, at.connection_id, rule, rt.now())
    return desk.page(
        "audience.html",
        "audiences",
        draft=draft,
        kept=kept,
        view=view,
        sentence=shelf.sentence(rule) if rule is not None else None,
        verbs=shelf.VERBS,
        verbs_of=shelf.verbs_of,
        deepest=shelf.DEEPEST,
        flaws=audience_editor.told(draft),
        editor=audience_editor,
    )
