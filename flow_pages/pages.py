"""Which page of the flow is true for a visit right now, drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flask import Response, make_response
from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import Choice, PortalLink
from connect_app.models.base import Json
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from flow_pages import cancels, coming, links, offer_pages, offers, outcome, sessions, shapes, spoken, steps, theme, wording
from flow_pages.document import LinkOffer
from flow_pages.offer_pages import OfferPage
from flow_pages.shapes import Shape
from flow_pages.visits import Visit
from jobs import actions
from jobs.outbound import pass_through
from webhooks import mirror


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a link's query asks for: a page they have been to (`at`); the offer was gone; they come back from Stripe's card page; what they
    confirmed is no longer what would be done.
    """

    at: str | None
    is_gone: bool
    is_from_card: bool
    is_changed: bool = False


def current(rt: Runtime, session: Session, visit: Visit, asked: Asked, *, is_looked_at: bool) -> Response | str | OfferPage:
    """The page this customer is to see; an offer's is drawn after the transaction. Looking is noted, and changes nothing else."""
    now, at = rt.now(), asked.at
    if visit.row.state == "chosen" or at == "undo":
        done = outcome.of_session(session, visit.row.id)
        if done:
            return _outcome(rt, session, visit, done, now)
        if visit.choice is not None:
            return _passed_on(rt, session, visit, visit.choice)
    if at == "kept" and visit.row.kept_at is not None:
        return theme.draw("kept.html", **_frame(rt, session, visit, event="saved"))
    shape = shapes.of(visit.subscription, now)
    if visit.subscription is not None and shape in (Shape.ENDED, Shape.CANCELING):
        return _over(rt, session, visit, visit.subscription, shape)
    made = offers.made(session, visit, now)
    way = steps.path(visit.flow, visit.answers, made)
    step = next((step for step in way if step.name == at), way[-1])
    if is_looked_at:
        sessions.seen(session, visit, step, now)
    frame = _frame(rt, session, visit)
    frame["at"], frame["of"] = way.index(step) + 1, max(len(way) + (not isinstance(way[-1], steps.ConfirmStep)), 1)
    frame["previous"] = way[way.index(step) - 1].name if way.index(step) else None
    frame["notice"] = shapes.notice(visit.subscription, shape, visit.reader, is_voiding=cancels.options(visit).open_invoices == "void")
    frame["is_past_due"] = shape is Shape.PAST_DUE and visit.is_connected
    frame["can_resume"] = can_resume(visit, shape)
    frame["gone"] = asked.is_gone
    frame["is_from_card"] = asked.is_from_card
    frame["is_changed"] = asked.is_changed
    match step:
        case steps.SurveyStep(survey=survey):
            return theme.draw("survey.html", survey=survey, answer=visit.answers.get(steps.SURVEY, {}), **frame)
        case steps.OfferStep(offer=offer):
            return OfferPage(visit=visit, made=made[offer.id], frame=frame, is_looked_at=is_looked_at)
        case steps.ConfirmStep():
            return _confirm(session, visit, shape, frame, now)


def walked(session: Session, visit: Visit, now: datetime) -> tuple[steps.Step, ...]:
    """The pages this customer may look at, with the offers that can be made to them now."""
    return steps.path(visit.flow, visit.answers, offers.made(session, visit, now))


def can_leave(session: Session, visit: Visit, now: datetime, *, wait_for_all: bool) -> bool:
    """Whether the waiting page has something better to show: all settled, or 20 seconds gone."""
    done = outcome.of_session(session, visit.row.id)
    in_flight = [one for one in done if one.is_in_flight]
    return not in_flight or (not wait_for_all and _is_long(in_flight, now))


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """How something is taken back: the verb, of which subscription, and which item of it."""

    verb: str
    subscription: str
    intent: Json = field(default_factory=dict)


def undoing(session: Session, visit: Visit, now: datetime, named: str) -> WayBack | None:
    """How to take back what was done here or elsewhere, a cancellation or a pause, while that is possible; None where it is not.

    `named` is the subscription that the form is about, where this session has changed several: one of this very customer's, or none.
    """
    done = outcome.of_session(session, visit.row.id)
    if done:
        theirs = [one for one in done if one.action.customer == visit.row.customer and named in ("", one.action.subscription)]
        ways = ((one.undone_by(now), one) for one in theirs)
        found = ((verb, one.action.subscription, one.taking_back) for verb, one in ways if verb is not None)
        return next((WayBack(verb=verb, subscription=subscription, intent=intent) for verb, subscription, intent in found), None)
    if visit.row.state != "open":
        return None
    shape = shapes.of(visit.subscription, now)
    verb = "resume" if can_resume(visit, shape) else "undo_cancel" if shape is Shape.CANCELING else None
    return None if verb is None else WayBack(verb=verb, subscription=visit.row.subscription)


def can_resume(visit: Visit, shape: Shape) -> bool:
    """Whether the pause of this subscription can be ended from here: Stripe's own only where it is paid by card."""
    subscription = visit.subscription
    if shape is not Shape.PAUSED or subscription is None or not visit.is_connected:
        return False
    return subscription.pause is not None or subscription.collection_method == "charge_automatically"


def leading_out(rt: Runtime, session: Session, visit: Visit, offer_id: str) -> str | None:
    """The page that leads out by a link offer; None where it is not made to this customer (any more)."""
    now = rt.now()
    made = offers.made(session, visit, now).get(offer_id) if visit.row.state == "open" else None
    if made is None or not isinstance(made.offer, LinkOffer):
        return None
    url = offer_pages.way_out(rt, session, visit, made.offer, now)
    return None if url is None else theme.draw("link.html", offer=made.offer, url=url, **_frame(rt, session, visit))


def portal_of(rt: Runtime, session: Session, visit: Visit) -> str | None:
    """The path of the portal this session began in, if it did."""
    if visit.row.portal_link_id is None:
        return None
    link = session.execute(select(PortalLink).where(PortalLink.id == visit.row.portal_link_id)).scalar_one_or_none()
    return links.portal_path(rt, link) if link and link.revoked_at is None else None


def _frame(rt: Runtime, session: Session, visit: Visit, *, event: str | None = None, leave: str | None = None) -> dict[str, object]:
    """What every page of the flow has: its forms' token and addresses, the way out, the owner's words."""
    row = visit.row
    path, words = links.cancel_path(rt, row), visit.words
    way_out = portal_of(rt, session, visit) or leave or visit.return_url
    return {
        "path": path,
        "form_token": links.form_token(rt, row.id, row.epoch),
        "opened_url": f"{path}/opened" if row.shown_at is None and row.state == "open" else None,
        "test_text": "Test mode" if row.mode == "test" else None,
        "embed_origin": row.embed_origin,
        "embed_event": event,
        "embed_url": way_out,
        "leave": way_out if way_out and (way_out.startswith("/") or links.origin_of(way_out)) else None,
        "say": lambda text: wording.render(text, words),
    }


def _confirm(session: Session, visit: Visit, shape: Shape, frame: Mapping[str, object], now: datetime) -> str:
    """What confirming does, to this subscription and, where there are more, to those the customer may end along with it."""
    reach, words = cancels.reach(session, visit, now), visit.words
    is_request = sessions.served(visit) is not None or reach is None
    told: dict[str, object] = {"consequences": [], "told": "", "parts": [], "picker": None, "ends_at_once": False, "plan": ""}
    if reach is not None and visit.connection is not None:
        subscription = reach.this.subscription
        names = mirror.product_names(
            session, visit.connection.id, spoken.names_wanted([subscription, *(one.subscription for one in reach.others)])
        )
        plan = spoken.plan(subscription, names)
        told["plan"] = plan
        named = [("Plan", plan)] if len(subscription.items) == 1 else []
        if "renewal_date" not in words or not words["renewal_date"].is_known:
            words |= {"renewal_date": wording.word(subscription.current_period_end, visit.reader)}
        lines = [] if is_request else shapes.consequences(reach.this, shape, names, visit.reader)
        planned = coming.of(session, visit.connection.id, [subscription], visit.reader).get(subscription.id)
        if planned is not None and not is_request:
            lines.append((f"Planned for {spoken.day(planned.at, visit.reader)}", f"{planned.plan}: given up with the cancellation"))
        told["consequences"] = named + lines
        told["told"], told["ends_at_once"] = reach.told, reach.this.is_at_once and not is_request
        if reach.parts:
            told["parts"] = [shapes.in_part(part, subscription, visit.reader) for part in reach.parts]
        if reach.others:
            called = spoken.told_apart([subscription, *(one.subscription for one in reach.others)], names, visit.reader)
            others = [called[one.subscription.id] for one in reach.others]
            endings = [] if is_request else [shapes.in_short(one, called[one.subscription.id], visit.reader) for one in reach.others]
            told["picker"] = {"plan": called[subscription.id], "others": others, "endings": endings, "is_all": reach.is_all}
    say = {"say": lambda text: wording.render(text, words)}
    return theme.draw("confirm.html", confirm=visit.flow.confirm, is_request=is_request, **told, **{**frame, **say})


def _over(rt: Runtime, session: Session, visit: Visit, subscription: objects.Subscription, shape: Shape) -> str:
    """The page of a subscription that is canceled already, at once or at the end of its period."""
    names = mirror.product_names(session, visit.connection.id, spoken.names_wanted([subscription])) if visit.connection else {}
    ended = subscription.ended_at or subscription.ends_at
    is_voided = visit.connection is not None and actions.has_voided(session, visit.connection.id, subscription.id)
    return theme.draw(
        "over.html",
        plan=spoken.plan(subscription, names),
        is_ended=shape is Shape.ENDED,
        is_owing=visit.connection is not None and bool(mirror.owing(session, visit.connection.id, [subscription.id])),
        ends_on=spoken.day(ended, visit.reader) if ended else None,
        next_charge=shapes.next_charge(subscription, visit.reader),
        can_undo=shape is Shape.CANCELING and visit.is_connected,
        deciding=outcome.deciding(visit.workspace_name) if is_voided else None,
        undo=outcome.ASK_TO_UNDO if is_voided else "Undo the cancellation",
        **_frame(rt, session, visit),
    )


def _outcome(rt: Runtime, session: Session, visit: Visit, done: list[outcome.Done], now: datetime) -> Response | str:
    done = [outcome.as_it_is(one, visit.subscription, visit.as_of) for one in done]
    in_flight = [one for one in done if one.is_in_flight]
    is_waiting = bool(in_flight) and not _is_long(in_flight, now)
    offer = visit.choice.offer if visit.choice else None
    # Of several, the one the customer came for says where they go from here.
    verb = next((one for one in done if one.action.subscription == visit.row.subscription), done[-1]).action.verb
    event = None if in_flight else "canceled" if verb == "cancel" else "saved"
    leave = _passed_through(rt, session, visit, done, now) or (visit.cancel_url if verb == "cancel" else None)
    frame = _frame(rt, session, visit, event=event, leave=leave)
    if is_waiting:
        frame["embed_event"] = None
        response = make_response(theme.draw("waiting.html", refresh=2, **frame))
        # For browsers without script; with it, the page is left sooner by polling.
        response.headers["Refresh"] = "5"
        return response
    pause = visit.subscription.pause if visit.subscription else None
    resumes_at = pause.resumes_at if pause else None
    lines = outcome.lines(
        done,
        offer=offer,
        business=visit.workspace_name,
        locale=visit.reader,
        now=now,
        resumes_at=resumes_at,
        owing=mirror.owing(session, visit.connection.id, [one.action.subscription for one in done]) if visit.connection else (),
    )
    title, lede, seal = _headed(visit, done, verb)
    page = theme.draw("done.html", title=title, lede=lede, seal=seal, lines=lines, is_polled=bool(in_flight), **frame)
    response = make_response(page)
    if in_flight:
        response.headers["Refresh"] = "10"
    return response


def _headed(visit: Visit, done: list[outcome.Done], verb: str) -> tuple[str, str | None, str]:
    """Title, the line below it and the seal: of several subscriptions never more than is true of each."""
    verified = [one for one in done if one.is_verified]
    failed = any(one.action.state == "failed" for one in done)
    if len(verified) == len(done) and (
        len({one.action.verb for one in done}) > 1 or any(one.is_overtaken or one.is_taken_back for one in done)
    ):
        return "This is how it stands now", None, "ok"
    if len(verified) == len(done) and verb == "item_cancel":
        return "A part of your subscription is canceled", None, "ok"
    if len(verified) == len(done) and len(done) > 1 and verb == "cancel":
        return "Your subscriptions are canceled", None, "ok"
    if len(verified) == len(done):
        return wording.render(visit.flow.done.canceled if verb == "cancel" else visit.flow.done.saved, visit.words), None, "ok"
    if verified:
        return "Not all of this is done", "See below what became of each subscription.", "failed" if failed else "waiting"
    if failed:
        was_overtaken = all(one.action.code in outcome.OVERTAKEN for one in done if one.action.state == "failed")
        return "This was not done" if was_overtaken else "This could not be done", None, "failed"
    if all(one.action.code == actions.DECLINED for one in done):
        return "Your payment did not go through", None, "failed"
    return "We have received your request", _promise(visit, done, any(one.is_in_flight for one in done)), "waiting"


def _passed_on(rt: Runtime, session: Session, visit: Visit, choice: Choice) -> str:
    """The page of a choice that changes nothing on Stripe: what was accepted, and who sees to it."""
    leave = pass_through.way_out_of(session, rt.ring, visit.row, choice, rt.now())
    is_listed = leave is not None and links.is_listed(leave, visit.preferences.allowed_origins)
    told = f"{visit.workspace_name} has been told and will see to it. Your subscription stays as it is."
    line = outcome.accepted(choice.offer or {}, told)
    frame = _frame(rt, session, visit, event="saved", leave=leave if is_listed else None)
    return theme.draw("done.html", title="We have passed this on", lede=None, seal="waiting", lines=[line], is_polled=False, **frame)


def _passed_through(rt: Runtime, session: Session, visit: Visit, done: list[outcome.Done], now: datetime) -> str | None:
    """The business's own address for such a choice, once nothing is under way any more; its origin must be on the list at this time."""
    if visit.choice is None or any(one.is_in_flight for one in done):
        return None
    action = next((one.action for one in done if one.action.choice_id == visit.choice.id), None)
    url = pass_through.way_out(session, rt.ring, action, now) if action is not None else None
    return url if url and links.is_listed(url, visit.preferences.allowed_origins) else None


def _promise(visit: Visit, done: list[outcome.Done], is_in_flight: bool) -> str:
    if not is_in_flight and all(one.action.code == actions.YOURS for one in done if one.is_waiting):
        return f"{visit.workspace_name} makes such changes itself. You do not need to do anything."
    if not is_in_flight:
        return f"The team at {visit.workspace_name} has been told and will see to it. You do not need to do anything."
    if visit.customer is not None and visit.customer.email:
        return "This takes longer than usual. You can close this page: we will send you an email when it is settled."
    return "This takes longer than usual. You can close this page and come back to this link to see how it ended."


def _is_long(in_flight: list[outcome.Done], now: datetime) -> bool:
    return all(now - one.action.asked_at >= sessions.PROMISED_AFTER for one in in_flight)
