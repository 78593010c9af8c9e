"""Cancel flows: what is published, how it gets onto the business's site, and what came of it."""

from datetime import datetime, timedelta

from flask import Response as FlaskResponse
from flask import flash, redirect, render_template, request, stream_with_context
from werkzeug.wrappers import Response

from connect_app import audit, preferences, runtime
from connect_app.admin import cases, checklist, desk, embedding, forms, outcomes, session_sheet, sessions
from connect_app.admin import flows as shelf
from connect_app.errors import NotFound

# So many of those on watch are listed; the rows below can be filtered for the others.
_WATCHED = 10
PERIODS = {"7": "7 days", "30": "30 days", "90": "90 days", "all": "All time"}


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
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        found = next((one for one in shelf.listing(session, at.workspace_id, at.mode) if one.id == flow_id), None)
        versions = shelf.history(session, at.workspace_id, flow_id)
    if found is None:
        raise NotFound(code="not_found", message="There is no such flow in this workspace.")
    wanted = request.args.get("version", type=int) or found.version.number
    version = next((one for one in versions if one.number == wanted), found.version)
    return desk.page("flow.html", "flows", flow=found, version=version, versions=versions)


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


@desk.blueprint.get("/flows/analytics")
def analytics() -> str:
    """How sessions ended, and a row for each."""
    rt, at = runtime.current(), desk.here()
    now = rt.now()
    period, since, outcome = _asked(now)
    with rt.transaction(at.workspace_id) as session:
        headline = cases.headline(session, at.workspace_id, at.mode, since=since)
        watched = cases.watched(session, at.workspace_id, at.mode, _WATCHED, now)
        settings = preferences.read(session, at.workspace_id)
        tally = outcomes.tally(session, at.workspace_id, at.mode, since=since, now=now)
        page = sessions.page(
            session,
            at.workspace_id,
            at.mode,
            now=now,
            number=request.args.get("page", 1, type=int),
            outcome=outcome,
            is_opened=True,
            since=since,
            total=tally.of(outcome) if outcome else tally.opened,
        )
    return desk.page(
        "analytics.html",
        "analytics",
        headline=headline,
        watched=watched,
        settings=settings,
        tally=tally,
        page=page,
        words=outcomes.WORDS,
        outcome=outcome,
        period=period,
        periods=PERIODS,
    )


@desk.blueprint.get("/flows/analytics.csv")
def analytics_csv() -> Response:
    """The raw rows of the sessions that the page shows, sent as they are read."""
    rt, at = runtime.current(), desk.here()
    period, since, outcome = _asked(rt.now())
    with rt.transaction(at.workspace_id) as session:
        details = {"mode": str(at.mode), "period": period, "outcome": outcome}
        audit.record(session, at.workspace_id, actor=at.member.actor, verb="sessions.exported", at=rt.now(), details=details)
    lines = session_sheet.lines(rt, at.workspace_id, at.mode, since=since, outcome=outcome)
    name = f"sessions-{at.mode}-{rt.now():%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return FlaskResponse(stream_with_context(lines), content_type="text/csv; charset=utf-8", headers=headers)


def _asked(now: datetime) -> tuple[str, datetime | None, str]:
    """The period as the address has it, when it began (None: all time), and an outcome or none."""
    period = request.args.get("period", "30")
    period = period if period in PERIODS else "30"
    since = None if period == "all" else now - timedelta(days=int(period))
    outcome = request.args.get("outcome", "")
    return period, since, outcome if outcome in outcomes.WORDS else ""
