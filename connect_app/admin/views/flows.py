"""Cancel flows: what is published, and how it gets onto the business's site."""

from flask import flash, redirect, render_template, request
from werkzeug.wrappers import Response

from connect_app import audit, preferences, runtime
from connect_app.admin import checklist, desk, embedding, forms, offers
from connect_app.admin import flows as shelf
from connect_app.errors import NotFound
from flow_pages import cancels
from flow_pages.document import CancelOptions


@desk.blueprint.get("/flows")
def flows() -> str:
    """The flows with their published versions."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        listed = shelf.listing(session, at.workspace_id, at.mode)
    return desk.page("flows.html", "flows", flows=listed)


@desk.blueprint.get("/flows/<flow_id>")
def flow(flow_id: str) -> str:
    """One flow: what a customer reads, and its versions."""
    return _flow_page(flow_id)


@desk.blueprint.post("/flows/<flow_id>")
def change_flow(flow_id: str) -> Response | tuple[str, int]:
    """Publish the flow with what it shall have of its own."""
    rt, at = runtime.current(), desk.here()
    form = forms.FlowForm(data=forms.FlowForm.of(CancelOptions()))
    if not form.validate():
        return _flow_page(flow_id, form), 422
    with rt.transaction(at.workspace_id) as session:
        number = shelf.set_options(
            session,
            at.workspace_id,
            flow_id,
            cancel=form.cancel,
            offers_by=form.whose("offers_by"),
            cancels_by=form.whose("cancels_by"),
            now=rt.now(),
            by=at.member.actor,
        )
    flash("Saved. Nothing is different, so nothing was published." if number is None else f"Saved. Version {number} is published.", "ok")
    return redirect(at.path(f"/flows/{flow_id}"), 303)


def _flow_page(flow_id: str, typed: forms.FlowForm | None = None) -> str:
    """The flow's page; with the form as it was typed where that could not be saved."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        found = next((one for one in shelf.listing(session, at.workspace_id, at.mode) if one.id == flow_id), None)
        versions = shelf.history(session, at.workspace_id, flow_id)
        settings = preferences.read(session, at.workspace_id)
        if found is None:
            raise NotFound(code="not_found", message="There is no such flow in this workspace.")
        wanted = request.args.get("version", type=int) or found.version.number
        version = next((one for one in versions if one.number == wanted), found.version)
        made = version.document.offers
        picks = offers.labels(session, at.connection_id, made, at.mode)
    return desk.page(
        "flow.html",
        "flows",
        flow=found,
        version=version,
        versions=versions,
        said={one.id: offers.said(one, at.mode, picks) for one in made},
        form=typed or forms.FlowForm.showing(version.document, settings),
        told=forms.told,
        setup=cancels.of_workspace(settings),
        settings=settings,
    )


@desk.blueprint.get("/flows/embed")
def embed() -> str:
    """Snippets, how the flow opens, a test, and whether a hand-off has arrived."""
    return _embed_page(forms.DisplayForm(formdata=None))


def _embed_page(form: forms.DisplayForm) -> str:
    rt, at = runtime.current(), desk.here()
    snippet = embedding.snippet(rt, at.member.workspace.slug, request.args.get("tab", ""), request.args.get("language", ""))
    with rt.transaction(at.workspace_id) as session:
        form.display.data = preferences.read(session, at.workspace_id).display
        seen = checklist.last_hand_off(session, at.workspace_id, at.mode)
        candidates = embedding.candidates(session, at.workspace_id, at.connection)
    return desk.page(
        "embed.html",
        "embed",
        snippet=snippet,
        bundle=embedding.bundle_snippet(rt, at.member.workspace.slug) if (snippet.kind, snippet.language) == ("cancel", "node") else None,
        languages=embedding.LANGUAGES,
        form=form,
        seen=seen,
        candidates=candidates,
    )


@desk.blueprint.get("/flows/embed/seen")
def hand_off_seen() -> str:
    """Whether a signed hand-off has arrived, for the page that waits for it."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        seen = checklist.last_hand_off(session, at.workspace_id, at.mode)
    return render_template("admin/_hand_off.html", seen=seen, mode=str(at.mode), is_live_fragment=True)


@desk.blueprint.post("/flows/embed/display")
def set_display() -> Response:
    """Keep how the flow opens."""
    rt, at = runtime.current(), desk.here()
    form = forms.DisplayForm()
    if not form.validate():
        flash("Choose one of the two.", "failed")
        return redirect(at.path("/flows/embed"), 303)
    with rt.transaction(at.workspace_id) as session:
        preferences.save(session, at.workspace_id, "display", form.display.data, rt.now())
        details = {"display": form.display.data}
        audit.record(session, at.workspace_id, actor=at.member.actor, verb="settings.display", at=rt.now(), details=details)
    flash("Saved.", "ok")
    return redirect(at.path("/flows/embed"), 303)


@desk.blueprint.post("/flows/embed/test")
def test_flow() -> Response:
    """Open the flow as a customer with this test subscription would."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        path = embedding.try_flow(session, rt, at.workspace_id, at.connection, request.form.get("subscription", ""))
    return redirect(path, 303)
