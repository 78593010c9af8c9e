"""Customers: everybody the mirror knows in this mode, and all that is known of one."""

from flask import Response, request, stream_with_context

from connect_app import audit, runtime
from connect_app.admin import audiences, customer_sheet, desk, dossier, outcomes, timeline
from connect_app.admin import customers as people
from webhooks.audiences import Rule


@desk.blueprint.get("/customers")
def customers() -> str:
    """A page of the mirrored customers, of a search or an audience."""
    rt, at = runtime.current(), desk.here()
    search, chosen, after = _asked()
    with rt.transaction(at.workspace_id) as session:
        listed = audiences.listing(session, at.workspace_id)
        rule = _rule(listed, chosen)
        page = None
        if at.connection_id is not None:
            page = people.page(session, at.workspace_id, at.connection_id, rt.now(), search=search, after=after, rule=rule)
    return desk.page(
        "customers.html",
        "customers",
        page=page,
        search=search,
        chosen=chosen if rule is not None else "",
        audiences=[audience for audience in listed if audience.rule is not None],
        is_first=not after,
        price=people.price,
    )


@desk.blueprint.get("/customers.csv")
def customers_csv() -> Response:
    """The customers of the present search or audience with their mapped fields, sent as they are read."""
    rt, at = runtime.current(), desk.here()
    search, chosen, _ = _asked()
    with rt.transaction(at.workspace_id) as session:
        rule = _rule(audiences.listing(session, at.workspace_id), chosen)
        details = {"mode": str(at.mode), "search": search, "audience": chosen if rule is not None else ""}
        audit.record(session, at.workspace_id, actor=at.member.actor, verb="customers.exported", at=rt.now(), details=details)
    lines = customer_sheet.pieces(rt, at.workspace_id, at.connection_id, search=search, rule=rule)
    name = f"customers-{at.mode}-{rt.now():%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(stream_with_context(lines), content_type="text/csv; charset=utf-8", headers=headers)


@desk.blueprint.get("/customers/<customer_id>")
def customer(customer_id: str) -> str:
    """One customer: mapped fields, subscriptions, sessions, actions and invoices."""
    rt, at = runtime.current(), desk.here()
    chosen = _clean("subscription")
    with rt.transaction(at.workspace_id) as session:
        known = dossier.read(session, at.workspace_id, at.mode, at.connection_id, customer_id, chosen, rt.now())
    return desk.page("customer.html", "customers", known=known, words=outcomes.WORDS, verb_of=timeline.verb_of, price=people.price)


def _asked() -> tuple[str, str, str]:
    """Search, audience and place, as the address has them."""
    return _clean("q"), _clean("audience"), _clean("after")


def _clean(name: str) -> str:
    return request.args.get(name, "").strip()[:600].replace("\0", "")


def _rule(listed: list[audiences.Listed], chosen: str) -> Rule | None:
    return next((audience.rule for audience in listed if audience.id == chosen), None)
