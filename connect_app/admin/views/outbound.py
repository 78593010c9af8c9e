"""Settings -> Outbound: webhooks, pass-through URLs, and what was sent to each."""

from flask import flash, redirect, request
from werkzeug.wrappers import Response

from connect_app import preferences, runtime
from connect_app.admin import desk, mappings, outbound, outbound_forms
from connect_app.errors import NotFound, Problem
from connect_app.models import Endpoint
from jobs.outbound import endpoints, pass_through, publishing, telling


@desk.blueprint.get("/settings/outbound")
def endpoints_page() -> str:
    """What this mode tells to whom."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        every = endpoints.listing(session, at.workspace_id, at.mode)
    return desk.page(
        "endpoints.html", "settings", webhooks=_of(every, "webhook"), pass_throughs=_of(every, "call", "redirect"), words=outbound
    )


@desk.blueprint.get("/settings/outbound/new")
def new_endpoint() -> str:
    """A webhook, or a pass-through URL."""
    return _editor(outbound_forms.EndpointForm(formdata=None), _kind(), None)


@desk.blueprint.post("/settings/outbound/new")
def add_endpoint() -> Response | str | tuple[str, int]:
    """Keep it, and show its secret once, in this answer."""
    rt, at, kind = runtime.current(), desk.here(), _kind()
    form = outbound_forms.EndpointForm()
    if not _is_right(form, kind):
        return _editor(form, kind, None), 422
    try:
        with rt.transaction(at.workspace_id) as session:
            url, topics, now = form.url.data, form.topics.data, rt.now()
            minted = endpoints.add(
                session, at.workspace_id, at.mode, kind=kind, url=url, topics=topics, ring=rt.ring, now=now, by=at.member.actor
            )
    except Problem as problem:
        return _refused(problem, "")
    return desk.page("endpoint_secret.html", "settings", minted=minted, kind=kind, is_rotation=False)


@desk.blueprint.get("/settings/outbound/<endpoint_id>")
def endpoint(endpoint_id: str) -> str:
    """One endpoint and its log."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        row = endpoints.one(session, at.workspace_id, endpoint_id)
        log = outbound.log(session, row, desk.page_number())
    return desk.page("endpoint.html", "settings", row=row, log=log, now=rt.now(), words=outbound)


@desk.blueprint.get("/settings/outbound/<endpoint_id>/edit")
def edit_endpoint(endpoint_id: str) -> str:
    """Its address and topics."""
    row = _row(endpoint_id)
    return _editor(outbound_forms.EndpointForm(formdata=None, data={"url": row.url, "topics": row.topics}), row.kind, row)


@desk.blueprint.post("/settings/outbound/<endpoint_id>/edit")
def change_endpoint(endpoint_id: str) -> Response | tuple[str, int]:
    """Keep what was changed."""
    rt, at, row = runtime.current(), desk.here(), _row(endpoint_id)
    form = outbound_forms.EndpointForm()
    if not _is_right(form, row.kind):
        return _editor(form, row.kind, row), 422
    with rt.transaction(at.workspace_id) as session:
        kept = endpoints.one(session, at.workspace_id, endpoint_id)
        endpoints.change(session, kept, url=form.url.data, topics=form.topics.data, now=rt.now(), by=at.member.actor)
    flash("Saved. What is still to be sent goes to this address.", "ok")
    return _back(endpoint_id)


@desk.blueprint.post("/settings/outbound/<endpoint_id>/test")
def test_endpoint(endpoint_id: str) -> Response:
    """Send a message that says nothing but that it is a test."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        row = endpoints.one(session, at.workspace_id, endpoint_id)
        is_sent = row.kind == "webhook" and row.closed_at is None
        if is_sent:
            telling.test(session, row, rt.now())
    flash(
        "A test is on its way. Reload this page to see how it ended." if is_sent else "Switch it on first.",
        "info" if is_sent else "attention",
    )
    return _back(endpoint_id)


@desk.blueprint.post("/settings/outbound/<endpoint_id>/rotate")
def rotate_endpoint(endpoint_id: str) -> Response | str:
    """A new secret, shown once; the older one signs beside it for a day."""
    rt, at = runtime.current(), desk.here()
    try:
        with rt.transaction(at.workspace_id) as session:
            row = endpoints.one(session, at.workspace_id, endpoint_id)
            minted = endpoints.rotate(session, row, ring=rt.ring, now=rt.now(), by=at.member.actor)
    except NotFound:
        raise
    except Problem as problem:
        return _refused(problem, f"/{endpoint_id}")
    return desk.page("endpoint_secret.html", "settings", minted=minted, kind=row.kind, is_rotation=True)


@desk.blueprint.post("/settings/outbound/<endpoint_id>/close")
def close_endpoint(endpoint_id: str) -> Response:
    """Switch it off."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        row = endpoints.one(session, at.workspace_id, endpoint_id)
        endpoints.close(session, row, "by_team", now=rt.now(), by=at.member.actor)
    flash("Switched off: nothing is sent there. What it would have been told is kept, and can be replayed.", "ok")
    return _back(endpoint_id)


@desk.blueprint.post("/settings/outbound/<endpoint_id>/open")
def open_endpoint(endpoint_id: str) -> Response:
    """Switch it on again."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        endpoints.open(session, endpoints.one(session, at.workspace_id, endpoint_id), now=rt.now(), by=at.member.actor)
    flash("Switched on. Replay what failed, if your server should still hear of it.", "ok")
    return _back(endpoint_id)


@desk.blueprint.post("/settings/outbound/<endpoint_id>/replay")
def replay_endpoint(endpoint_id: str) -> Response:
    """Send once more whatever failed."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        row = endpoints.one(session, at.workspace_id, endpoint_id)
        count = publishing.replay_failed(session, row, rt.now()) if row.closed_at is None else None
    if count is None:
        flash("Switch it on first.", "attention")
    else:
        flash(f"{count} {'delivery is' if count == 1 else 'deliveries are'} being sent again.", "info")
    return _back(endpoint_id)


@desk.blueprint.post("/settings/outbound/<endpoint_id>/remove")
def remove_endpoint(endpoint_id: str) -> Response:
    """It is gone, and its log."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        endpoints.remove(session, endpoints.one(session, at.workspace_id, endpoint_id), now=rt.now(), by=at.member.actor)
    flash("Removed.", "ok")
    return _back("")


@desk.blueprint.get("/settings/outbound/<endpoint_id>/log/<delivery_id>")
def delivery(endpoint_id: str, delivery_id: str) -> str:
    """One delivery: what was sent, and each try."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        row = endpoints.one(session, at.workspace_id, endpoint_id)
        told = outbound.told(session, row, delivery_id)
    return desk.page("delivery.html", "settings", row=row, told=told, now=rt.now(), words=outbound)


@desk.blueprint.post("/settings/outbound/<endpoint_id>/log/<delivery_id>/replay")
def replay_delivery(endpoint_id: str, delivery_id: str) -> Response:
    """Send it once more, under the same id."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        row = endpoints.one(session, at.workspace_id, endpoint_id)
        one = outbound.delivery(session, row, delivery_id)
        if row.closed_at is None:
            publishing.replay(session, one, rt.now())
    if row.closed_at is None:
        flash("It is being sent again, under the same id.", "info")
    else:
        flash("Switch the endpoint on first.", "attention")
    return _back(f"{endpoint_id}/log/{delivery_id}")


def _row(endpoint_id: str) -> Endpoint:
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        return endpoints.one(session, at.workspace_id, endpoint_id)


def _of(every: list[Endpoint], *kinds: str) -> list[Endpoint]:
    return [one for one in every if one.kind in kinds]


def _kind() -> str:
    kind = request.args.get("kind", "webhook")
    if kind not in outbound.KINDS:
        raise NotFound(code="not_found", message="There is no such kind of endpoint.")
    return kind


def _is_right(form: outbound_forms.EndpointForm, kind: str) -> bool:
    """Whether the form is, and the address leads where something may be sent."""
    rt, at = runtime.current(), desk.here()
    form.offer(kind)
    if not form.check(kind):
        return False
    with rt.transaction(at.workspace_id) as session:
        known = mappings.names(session, at.workspace_id)
        origins = preferences.read(session, at.workspace_id).allowed_origins
    if problem := outbound.address_problem(rt, kind, form.url.data, known=known, origins=origins):
        form.url.errors = [problem]
        return False
    return True


def _editor(form: outbound_forms.EndpointForm, kind: str, row: Endpoint | None) -> str:
    rt, at = runtime.current(), desk.here()
    form.offer(kind)
    with rt.transaction(at.workspace_id) as session:
        variables = dict.fromkeys((*pass_through.FIXED, *sorted(mappings.names(session, at.workspace_id))))
    choices = outbound.types() if kind == "webhook" else list(outbound.CHOICES.items())
    return desk.page("endpoint_edit.html", "settings", form=form, kind=kind, row=row, choices=choices, variables=variables, words=outbound)


def _refused(problem: Problem, where: str) -> Response:
    flash(problem.message, "attention")
    return redirect(desk.here().path(f"/settings/outbound{where}"), 303)


def _back(where: str) -> Response:
    return redirect(desk.here().path(f"/settings/outbound{'/' if where else ''}{where}"), 303)
