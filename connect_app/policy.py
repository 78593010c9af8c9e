"""Who may ask which address for what: one row a route, and a route without a row is refused."""

# Everybody.
PUBLIC = "public"
# Whoever holds a link, a signature or a one-time token; each route checks its own.
TOKEN = "token"  # noqa: S105  # the word, not one
# Members by role, from the least to the most (connect_app.workspaces.members.ROLES).
ANALYST, EDITOR, ADMIN, OWNER = "analyst", "editor", "admin", "owner"

TABLE = {
    "static": PUBLIC,
    "front": PUBLIC,
    "health.healthz": PUBLIC,
    "health.readyz": PUBLIC,
    # Answers with the operator's token, or on loopback.
    "health.numbers": TOKEN,
    "handbook.errors": PUBLIC,
    "signin.page": PUBLIC,
    "signin.ask": PUBLIC,
    "signin.sent": PUBLIC,
    "signin.open_link": TOKEN,
    "signin.follow_link": TOKEN,
    "signin.sign_out": PUBLIC,
    "oauth.start": PUBLIC,
    # Opens a workspace for nobody in particular; with `workspace`, only for an owner of it.
    "oauth.depart": PUBLIC,
    "oauth.come_back": TOKEN,
    "oauth.connected": TOKEN,
    "oauth.email": TOKEN,
    "oauth.inbox": TOKEN,
    "oauth.undo": TOKEN,
    "oauth.disconnect": OWNER,
    "embed.cancel": TOKEN,
    "embed.portal": TOKEN,
    "flow.static": PUBLIC,
    "flow.show": TOKEN,
    "flow.status": TOKEN,
    "flow.opened": TOKEN,
    "flow.answer": TOKEN,
    "flow.accept": TOKEN,
    "flow.decline": TOKEN,
    "flow.skip": TOKEN,
    "flow.keep": TOKEN,
    "flow.confirm": TOKEN,
    "flow.card": TOKEN,
    "flow.card_page": TOKEN,
    "flow.undo": TOKEN,
    "portal.show": TOKEN,
    "portal.status": TOKEN,
    "portal.cancel": TOKEN,
    "portal.card": TOKEN,
    "portal.card_page": TOKEN,
    "portal.undo": TOKEN,
    "admin.home": ANALYST,
    "admin.read_in": ANALYST,
    "admin.set_mode": ANALYST,
    "admin.check_connection": ADMIN,
    "admin.flows": ANALYST,
    "admin.flow": ANALYST,
    "admin.embed": ANALYST,
    "admin.hand_off_seen": ANALYST,
    "admin.set_display": ADMIN,
    "admin.test_flow": EDITOR,
    "admin.analytics": ANALYST,
    "admin.sessions": ANALYST,
    "admin.session_page": ANALYST,
    "admin.customers": ANALYST,
    "admin.customers_csv": ANALYST,
    "admin.customer": ANALYST,
    "admin.audiences": ANALYST,
    "admin.audience": ANALYST,
    "admin.new_audience": EDITOR,
    "admin.make_audience": EDITOR,
    "admin.change_audience": EDITOR,
    "admin.delete_audience": EDITOR,
    "admin.queue": ANALYST,
    "admin.retry_action": EDITOR,
    "admin.mark_done": EDITOR,
    "admin.close_action": EDITOR,
    "admin.setup": ANALYST,
    "admin.save_setup": ADMIN,
    "admin.offer": ANALYST,
    "admin.save_offer": EDITOR,
    "admin.site": ANALYST,
    "admin.save_site": ADMIN,
    "admin.stripe": ANALYST,
    "admin.replay_event": ADMIN,
    "admin.replay_events": ADMIN,
    "admin.embed_secrets": OWNER,
    "admin.make_secret": OWNER,
    "admin.show_secret": OWNER,
    "admin.rotate_secret": OWNER,
    "admin.revoke_secret": OWNER,
    "admin.audit_log": ADMIN,
}


def needs(endpoint: str | None) -> str:
    """What a caller of this endpoint must be or hold. Raises LookupError for one that is not in the table."""
    if endpoint not in TABLE:
        raise LookupError(f"no row in connect_app.policy for {endpoint}")
    return TABLE[endpoint]
