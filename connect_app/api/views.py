"""What the API answers: actions, one or many, the word that one is done, and the document of all of it."""

from flask import Response, jsonify, request

from connect_app import runtime
from connect_app.api import document, door, ledger, shapes
from connect_app.api.door import blueprint
from jobs import actions

__all__ = ["blueprint"]


@blueprint.get("/actions")
def list_actions() -> Response:
    """A page of actions."""
    rt, holder = runtime.current(), door.here()
    asked = shapes.question(request.args.to_dict(flat=False))
    with rt.transaction(holder.workspace_id) as session:
        rows, has_more = ledger.page(session, holder, asked)
    return jsonify(shapes.Actions(data=tuple(shapes.action(row) for row in rows), has_more=has_more).model_dump(mode="json"))


@blueprint.get("/actions/<action_id>")
def get_action(action_id: str) -> Response:
    """One action."""
    rt, holder = runtime.current(), door.here()
    with rt.transaction(holder.workspace_id) as session:
        row = ledger.one(session, holder, action_id)
    return jsonify(shapes.action(row).model_dump(mode="json"))


@blueprint.post("/actions/<action_id>/confirm")
def confirm_action(action_id: str) -> tuple[Response, int]:
    """It is done, says the business: Stripe is read to see whether it is, by a job (202), unless that has been seen already (200)."""
    rt, holder = runtime.current(), door.here()
    with rt.transaction(holder.workspace_id) as session:
        row = actions.ask_proof(session, holder.workspace_id, holder.mode, action_id, now=rt.now(), by=holder.key_id)
    return jsonify(shapes.action(row).model_dump(mode="json")), 200 if row.state == "verified" else 202


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """What this API is, for programs."""
    response = jsonify(document.openapi(runtime.current().settings.base_url))
    response.headers["Cache-Control"] = "public, max-age=300"
    return response
