"""Sessions: all that were handed over, and the story of each."""

from connect_app import runtime
from connect_app.admin import desk, mappings, outcomes, stripe_links, timeline
from connect_app.admin import sessions as visits


@desk.blueprint.get("/sessions")
def sessions() -> str:
    """Every hand-off of this mode, opened or not."""
    rt, at = runtime.current(), desk.here()
    search = desk.searched(255)
    with rt.transaction(at.workspace_id) as session:
        page = visits.page(session, at.workspace_id, at.mode, now=rt.now(), number=desk.page_number(), search=search)
    return desk.page("sessions.html", "sessions", page=page, words=outcomes.WORDS, search=search)


@desk.blueprint.get("/sessions/<session_id>")
def session_page(session_id: str) -> str:
    """One session from hand-off to proof."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        story = timeline.read(session, at.workspace_id, session_id, rt.now())
    return desk.page(
        "session.html",
        "sessions",
        story=story,
        origin=mappings.origin,
        word=outcomes.WORDS.get(story.row.outcome, ("neutral", story.row.outcome, "")),
        subscription_link=stripe_links.subscription(story.visit.mode, story.visit.subscription),
    )
