"""Manual queue: what a person has to do, tried again, marked as done or closed."""

from flask import flash, redirect, request
from werkzeug.wrappers import Response

from connect_app import runtime
from connect_app.admin import desk, waiting
from jobs import actions


@desk.blueprint.get("/queue")
def queue() -> str:
    """What waits in this mode, most urgent first; with `?show=overdue` or `?show=yours` that alone."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        pile = waiting.pile(session, at.workspace_id, at.mode, rt.now())
    elsewhere = {mode: count for mode, count in at.waiting.items() if mode != at.mode}
    show = request.args.get("show", "")
    tasks = {"overdue": pile.overdue, "yours": pile.yours}.get(show, pile.to_do)
    return desk.page("queue.html", "queue", pile=pile, tasks=tasks, show=show, elsewhere=elsewhere)


@desk.blueprint.post("/queue/<action_id>/retry")
def retry_action(action_id: str) -> Response:
    """Try it once more."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        waiting.known(session, at.workspace_id, action_id)
        try:
            is_tried = actions.retry(session, at.workspace_id, action_id, rt.now(), at.member.actor)
        except actions.InFlight:
            flash("Another change of this subscription is under way. Try again when it has settled.", "attention")
            return redirect(at.path("/queue"), 303)
    if is_tried:
        flash("It is being tried again. If it cannot be done, it comes back here.", "info")
    else:
        flash("This no longer waits: somebody else has seen to it.", "info")
    return redirect(at.path("/queue"), 303)


@desk.blueprint.post("/queue/<action_id>/done")
def mark_done(action_id: str) -> Response:
    """Take it off the list, if Stripe shows that it was done."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        waiting.known(session, at.workspace_id, action_id)
    if actions.mark_done(rt, at.workspace_id, action_id, at.member.actor):
        flash("Done: Stripe shows it.", "ok")
    else:
        flash(
            "Stripe does not show this change yet, so it stays on the list. Make it in Stripe’s dashboard first, or close the request.",
            "attention",
        )
    return redirect(at.path("/queue"), 303)


@desk.blueprint.post("/queue/<action_id>/close")
def close_action(action_id: str) -> Response:
    """Take it off the list for good, whatever Stripe shows; the customer is told."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        waiting.known(session, at.workspace_id, action_id)
        is_closed = actions.close(session, at.workspace_id, action_id, rt.now(), at.member.actor)
    if is_closed:
        flash("Closed. The customer is told that your team has closed the request.", "ok")
    else:
        flash("This no longer waits: somebody else has seen to it.", "info")
    return redirect(at.path("/queue"), 303)
