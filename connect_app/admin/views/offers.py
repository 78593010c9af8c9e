"""Offers: the list in the order in which they are made, the editor of each kind, trying one on, and whom it reaches."""

from flask import flash, redirect, render_template, request
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from connect_app import money, preferences, runtime, security
from connect_app.admin import audiences, desk, flows, mappings, offer_forms, offers
from connect_app.admin.offer_forms import OfferForm
from connect_app.admin.offers import rehearsal
from connect_app.errors import InvalidRequest, NotFound
from connect_app.money import Money
from flow_pages import theme
from flow_pages.document import Reason


@desk.blueprint.get("/offers")
def offers_page() -> str:
    """All offers, with what has come of each so far."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        kept = offers.listing(session, at.workspace_id)
        reasons = {one.id: one for one in _reasons(session, at.workspace_id)}
        picks = offers.labels(session, at.connection_id, [one.offer for one in kept], at.mode)
        tallies = offers.tallies(session, at.workspace_id, at.mode, kept, rt.now())
        named = dict(_audiences(session, at.workspace_id))
    today = rt.now().date()
    said = {one.id: (offers.said(one.offer, at.mode, picks), offers.placed(one.placement, reasons)) for one in kept}
    return desk.page(
        "offers.html", "offers", kept=kept, said=said, tallies=tallies, kinds=offers.KINDS, audiences=named, today=today, money=_money
    )


@desk.blueprint.get("/settings/offer")
def old_offer() -> Response:
    """Where the one offer of earlier times was set up."""
    return redirect(desk.here().path("/offers"), 301)


@desk.blueprint.get("/offers/new")
def new_offer() -> str:
    """A kind to choose, then its empty form."""
    at = desk.here()
    kind = request.args.get("kind", "")
    if kind not in offers.KINDS:
        return desk.page("offer_kinds.html", "offers", kinds=offers.KINDS)
    form = offer_forms.FORMS[kind].of(None, at.mode)
    return _editor(form, None)


@desk.blueprint.post("/offers/new")
def add_offer() -> Response | str | tuple[str, int]:
    """One more button of the editor, or the new offer kept and published."""
    kind = request.args.get("kind", "")
    if kind not in offers.KINDS:
        raise InvalidRequest(code="invalid_request", message="Choose a kind of offer first.", param="kind")
    return _turn(offer_forms.FORMS[kind](), None)


@desk.blueprint.get("/offers/<offer_id>")
def offer(offer_id: str) -> str:
    """One offer, to be read or changed."""
    at = desk.here()
    kept = _kept(offer_id)
    return _editor(offer_forms.FORMS[kept.offer.kind].of(kept, at.mode), kept)


@desk.blueprint.post("/offers/<offer_id>")
def change_offer(offer_id: str) -> Response | str | tuple[str, int]:
    """One more button of the editor, or the offer kept as it is now and published."""
    kept = _kept(offer_id)
    return _turn(offer_forms.FORMS[kept.offer.kind](), kept)


@desk.blueprint.post("/offers/<offer_id>/switch")
def switch_offer(offer_id: str) -> Response:
    """Make an offer from now on, or stop making it."""
    rt, at = runtime.current(), desk.here()
    is_on = request.form.get("to") == "on"
    try:
        with rt.transaction(at.workspace_id) as session:
            offers.switch(session, at.workspace_id, offer_id, is_on=is_on, now=rt.now(), by=at.member.actor)
            number = flows.publish_offers(session, at.workspace_id, rt.now(), at.member.actor)
    except offers.NotKept as refused:
        flash(str(refused), "failed")
    else:
        flash(_published("Switched on." if is_on else "Switched off.", number), "ok")
    return redirect(at.path("/offers"), 303)


@desk.blueprint.post("/offers/<offer_id>/move")
def move_offer(offer_id: str) -> Response:
    """One place up or down in the order in which they are made."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        offers.get(session, at.workspace_id, offer_id)
        order = [one.id for one in offers.listing(session, at.workspace_id)]
        place = order.index(offer_id)
        other = place + (1 if request.form.get("to") == "down" else -1)
        number = None
        if 0 <= other < len(order):
            order[place], order[other] = order[other], order[place]
            offers.move(session, at.workspace_id, order, rt.now(), at.member.actor)
            number = flows.publish_offers(session, at.workspace_id, rt.now(), at.member.actor)
    flash(_published("Moved.", number), "ok")
    return redirect(at.path(f"/offers#{offer_id}"), 303)


@desk.blueprint.post("/offers/<offer_id>/delete")
def delete_offer(offer_id: str) -> Response:
    """Take an offer away; versions that were published with it keep it."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        name = offers.get(session, at.workspace_id, offer_id).name
        offers.remove(session, at.workspace_id, offer_id, rt.now(), at.member.actor)
        number = flows.publish_offers(session, at.workspace_id, rt.now(), at.member.actor)
    flash(_published(f"“{name}” is deleted.", number), "ok")
    return redirect(at.path("/offers"), 303)


@desk.blueprint.get("/offers/<offer_id>/preview")
def offer_preview(offer_id: str) -> str:
    """The offer as the customer of a real subscription reads it, or why it cannot be made to them."""
    rt, at = runtime.current(), desk.here()
    wanted, found = request.args.get("subscription", ""), None
    with rt.transaction(at.workspace_id) as session:
        kept = offers.get(session, at.workspace_id, offer_id)
        samples = rehearsal.samples(session, at.connection_id)
        chosen = wanted or (samples[0].subscription if samples else "")
        if at.connection_id is not None and chosen:
            found = rehearsal.tried(session, at.workspace_id, at.connection_id, kept.offer, at.mode, chosen, rt.now())
    security.show_own_frames()
    return desk.page("offer_preview.html", "offers", kept=kept, samples=samples, chosen=chosen, found=found, today=rt.now().date())


@desk.blueprint.get("/offers/<offer_id>/preview/page")
def offer_as_read(offer_id: str) -> str:
    """The page inside the preview: the customer's own frame, with buttons that lead nowhere."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        kept = offers.get(session, at.workspace_id, offer_id)
        settings = preferences.read(session, at.workspace_id)
        wanted = request.args.get("subscription", "")
        found = None
        if at.connection_id is not None:
            found = rehearsal.tried(session, at.workspace_id, at.connection_id, kept.offer, at.mode, wanted, rt.now())
    if found is None or found.made is None:
        raise NotFound(code="not_found", message="This offer cannot be made to such a subscription.")
    theme.enter(at.member.workspace.name, settings)
    security.allow_framing(("'self'",))
    return rehearsal.drawn(found, at.mode, rt.now())


@desk.blueprint.get("/offers/<offer_id>/reach")
def offer_reach(offer_id: str) -> str:
    """Whom it can be made to, and what each refusal covers: a page, or with `?part` the piece that the offer's page shows."""
    rt, at = runtime.current(), desk.here()
    reach = None
    with rt.transaction(at.workspace_id) as session:
        kept = offers.get(session, at.workspace_id, offer_id)
        if at.connection_id is not None:
            reach = offers.look(session, at.workspace_id, at.connection_id, kept.offer, at.mode, rt.now())
    if "part" in request.args:
        return render_template("admin/_reach.html", reach=reach, mode=str(at.mode), offer=kept.offer, money=_money, is_live_fragment=True)
    return desk.page("offer_reach.html", "offers", kept=kept, reach=reach, offer=kept.offer, money=_money)


def _turn(form: OfferForm, kept: offers.Kept | None) -> Response | str | tuple[str, int]:
    """Do what the pressed button says: save and leave, or show the page again with what was typed."""
    rt, at = runtime.current(), desk.here()
    do, _, what = request.form.get("do", "save").partition(":")
    if do == "up" and isinstance(form, offer_forms.PlanForm):
        form.raise_up(what)
    if do != "save":
        return _editor(form, kept)
    with rt.transaction(at.workspace_id) as session:
        _lay(session, at.workspace_id, form, kept)
        _pickable(session, at.connection_id, form, kept, at.mode)
    typed = form.read(kept.offer if kept else None, at.mode)
    if typed is None:
        return _editor(form, kept), 422
    offer, placement = typed
    try:
        with rt.transaction(at.workspace_id) as session:
            if kept is None:
                offers.add(
                    session, at.workspace_id, name=form.name.data, offer=offer, placement=placement, now=rt.now(), by=at.member.actor
                )
            elif (kept.name, kept.offer, kept.placement) != (form.name.data, offer, placement):
                offers.save(
                    session,
                    at.workspace_id,
                    kept.id,
                    name=form.name.data,
                    offer=offer,
                    placement=placement,
                    now=rt.now(),
                    by=at.member.actor,
                )
            number = flows.publish_offers(session, at.workspace_id, rt.now(), at.member.actor)
    except offers.NotKept as refused:
        form.note("where", str(refused))
        return _editor(form, kept), 422
    flash(_published("Saved.", number), "ok")
    return redirect(at.path("/offers"), 303)


def _editor(form: OfferForm, kept: offers.Kept | None) -> str:
    """The editor with what can be picked in this mode."""
    at = desk.here()
    search, picker = desk.typed(100, "find"), None
    with runtime.current().transaction(at.workspace_id) as session:
        _lay(session, at.workspace_id, form, kept)
        if isinstance(form, offer_forms.DiscountForm):
            picker = offers.coupons(session, at.connection_id, form.coupon.data or None, search)
        elif isinstance(form, offer_forms.PlanForm):
            picker = offers.prices(session, at.connection_id, form.prices.data or (), search)
        currencies = offers.currencies(session, at.connection_id)
        picks = offers.labels(session, at.connection_id, [kept.offer], at.mode) if kept else {}
    return desk.page(
        "offer.html",
        "offers",
        form=form,
        kept=kept,
        kind=offers.KINDS[form.kind],
        picker=picker,
        search=search,
        currencies=currencies,
        variables=list(form.types),
        said=offers.said(kept.offer, at.mode, picks) if kept else "",
        other_mode="live" if at.mode == "test" else "test",
    )


def _lay(session: Session, workspace_id: str, form: OfferForm, kept: offers.Kept | None) -> None:
    form.lay(
        reasons=_reasons(session, workspace_id),
        audiences=_audiences(session, workspace_id),
        types=mappings.types(session, workspace_id),
        present=kept.offer if kept else None,
    )


def _pickable(session: Session, connection_id: str | None, form: OfferForm, kept: offers.Kept | None, mode: str) -> None:
    """Note what was picked and is none of the account's; what was picked before may stay."""
    before = form.terms_of(kept.offer, mode) if kept else {}
    if isinstance(form, offer_forms.DiscountForm):
        picked = form.coupon.data
        if picked and picked != before.get("coupon") and not offers.is_offered(session, connection_id, picked):
            form.refused["coupon"] = "Your account has no such coupon in this mode, or Stripe no longer accepts it."
    elif isinstance(form, offer_forms.PlanForm):
        fresh = [one for one in form.prices.data or () if one not in before.get("prices", ())]
        if any(one.problem for one in offers.prices(session, connection_id, fresh).picked):
            form.refused["prices"] = "One of these is no price of your account that a customer can be moved to."


def _reasons(session: Session, workspace_id: str) -> tuple[Reason, ...]:
    survey = flows.default_document(session, workspace_id).survey
    return survey.reasons if survey is not None else ()


def _audiences(session: Session, workspace_id: str) -> list[tuple[str, str]]:
    return [(one.id, one.name) for one in audiences.listing(session, workspace_id)]


def _kept(offer_id: str) -> offers.Kept:
    at = desk.here()
    with runtime.current().transaction(at.workspace_id) as session:
        return offers.get(session, at.workspace_id, offer_id)


def _money(amount: Money) -> str:
    return money.format(amount, "en")


def _published(done: str, number: int | None) -> str:
    if number is None:
        return f"{done} Customers see no difference, so nothing was published."
    return f"{done} Version {number} of the default flow is published."
