"""Settings -> Field mappings: the owner's names for what is known of a customer."""

from flask import flash, redirect, request
from werkzeug.wrappers import Response

from connect_app import runtime
from connect_app.admin import desk, forms, mappings
from connect_app.models import FieldMapping
from webhooks import catalogue


@desk.blueprint.get("/settings/fields")
def fields() -> str:
    """All variables, fifty to a page."""
    rt, at = runtime.current(), desk.here()
    search = desk.searched(100)
    with rt.transaction(at.workspace_id) as session:
        page = mappings.page(session, at.workspace_id, number=desk.page_number(), search=search)
    return desk.page("mappings.html", "settings", page=page, search=search)


@desk.blueprint.get("/settings/fields/new")
def new_field() -> str:
    """A new variable, or one of the defaults about to be changed."""
    given = mappings.default(request.args.get("name", ""))
    values = {"name": given.name, "type": given.type, "source": given.source, "fallback": given.fallback} if given else {}
    return _editor(forms.MappingForm(formdata=None, data={"type": "text", **values}), None)


@desk.blueprint.post("/settings/fields/new")
def add_field() -> Response | str | tuple[str, int]:
    """Look for sources, preview, or save a new variable."""
    rt, at = runtime.current(), desk.here()
    form = forms.MappingForm()
    if (picked := form.picked()) or request.form.get("do") != "save":
        is_right = bool(picked) or form.validate()
        page = _editor(form, None)
        return page if is_right or not request.form.get("source") else (page, 422)
    if not form.validate():
        return _editor(form, None), 422
    with rt.transaction(at.workspace_id) as session:
        is_new = mappings.add(session, at.workspace_id, form.mapping(), connections=_connections(at), now=rt.now(), by=at.member.actor)
    if not is_new:
        form.name.errors = [f"There is a field called {form.name.data} already."]
        return _editor(form, None), 422
    flash(f"Copy can now say {{{{ {form.name.data} }}}}.", "ok")
    _warn_of(at, form.mapping().source)
    return redirect(at.path("/settings/fields"), 303)


@desk.blueprint.get("/settings/fields/<id>")
def field(id: str) -> str:
    """One variable, with what it comes to today."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        row = mappings.one(session, at.workspace_id, id)
    return _editor(forms.MappingForm(formdata=None, obj=row), row)


@desk.blueprint.post("/settings/fields/<id>")
def change_field(id: str) -> Response | str | tuple[str, int]:
    """Look for sources, preview, or save what was changed."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        row = mappings.one(session, at.workspace_id, id)
    form = forms.MappingForm()
    form.name.data = row.name
    if form.picked():
        return _editor(form, row)
    is_right = form.validate()
    if not is_right or request.form.get("do") != "save":
        return _editor(form, row) if is_right else (_editor(form, row), 422)
    with rt.transaction(at.workspace_id) as session:
        mappings.change(session, at.workspace_id, id, form.mapping(), connections=_connections(at), now=rt.now(), by=at.member.actor)
    flash("Saved. Sessions that have begun keep the values they began with.", "ok")
    _warn_of(at, form.mapping().source)
    return redirect(at.path("/settings/fields"), 303)


@desk.blueprint.get("/settings/fields/<id>/delete")
def ask_about_field(id: str) -> str:
    """What deleting it would do."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        row = mappings.one(session, at.workspace_id, id)
        uses = mappings.uses(session, at.workspace_id, row.name)
    return desk.page("mapping_delete.html", "settings", row=row, uses=uses, default=mappings.default(row.name))


@desk.blueprint.post("/settings/fields/<id>/delete")
def delete_field(id: str) -> Response:
    """Delete it."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        name = mappings.remove(session, at.workspace_id, id, now=rt.now(), by=at.member.actor)
    flash(f"{name} is deleted.", "ok")
    return redirect(at.path("/settings/fields"), 303)


def _connections(at: desk.Desk) -> list[str]:
    return [connection.id for connection in at.connections.values() if connection.state == "connected"]


def _sources(at: desk.Desk) -> tuple[list[catalogue.Source], list[catalogue.Subject]]:
    rt = runtime.current()
    with rt.transaction(at.workspace_id) as session:
        subjects = mappings.subscribers(session, at.workspace_id, at.mode, at.connection_id)
        return catalogue.sources(session, at.workspace_id, at.mode, at.connection_id, subjects, rt.now()), subjects


def _warn_of(at: desk.Desk, source: str) -> None:
    """A source may be right and empty so far, or mistyped: that is the owner's to tell, and ours to say."""
    if not mappings.is_seen(source, _sources(at)[0]):
        flash(f"Nothing that we have seen so far has {source}: until something does, the fallback is read.", "attention")


def _focus(form: forms.MappingForm) -> str:
    """What the button that was pressed brought: search, preview or pick. What is wrong comes first, unless one only looked around."""
    done = "pick" if form.picked() else request.form.get("do", "")
    return "" if form.errors and done not in ("search", "pick") else done


def _editor(form: forms.MappingForm, row: FieldMapping | None) -> str:
    """The form beside what may be picked and what it comes to. After a button the focus goes to what it brought."""
    rt, at = runtime.current(), desk.here()
    search = request.form.get("q", "").strip()[:100]
    sources, subjects = _sources(at)
    wanted = form.mapping() if form.source.data else None
    return desk.page(
        "mapping.html",
        "settings",
        form=form,
        row=row,
        focus=_focus(form),
        is_seen=not form.source.data or mappings.is_seen(form.source.data, sources),
        sources=sources,
        choices=mappings.choices(sources, search),
        search=search,
        preview=mappings.preview(wanted, subjects, rt.now()) if wanted else [],
        is_empty=not subjects,
        groups=mappings.GROUPS,
        types=mappings.TYPES,
    )
