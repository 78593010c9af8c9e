"""The hand-off's two doors: a signed bundle in, a link out, and no difference between a wrong signature and a workspace that is not."""

import hashlib
import re

from flask import Blueprint, Response, g, jsonify, request
from flask_limiter.util import get_remote_address

from connect_app import connections, db, embed_secrets, limits, preferences, runtime
from connect_app.errors import Forbidden, InvalidRequest
from connect_app.preferences import Preferences
from connect_app.runtime import Runtime
from flow_pages import handoff, links, portals, sessions, visits
from flow_pages.handoff import Bundle
from webhooks import mirror

blueprint = Blueprint("embed", __name__)

# A workspace that cannot exist (no such id is ever made), so that an unknown slug costs the same queries.
_NOBODY = "ws_00000000000000000000000000"
_NO_SECRET = "hf_embed_none_" + "0" * 43


@blueprint.post("/api/embed/cancel")
@limits.limiter.limit(limits.of("embed_address"))
def cancel() -> Response:
    """A signed bundle for one subscription, for the link to its cancel flow: `{url, expires_at}`."""
    rt = runtime.current()
    bundle = _bundle(has_subscription=True)
    handoff.check_window(bundle, rt.now())
    workspace_id, mode = _verified(rt, bundle)
    with rt.transaction(workspace_id) as session:
        settings = preferences.read(session, workspace_id)
        origin = _allowed_origin(settings)
        return_url = _listed("return_url", bundle.return_url, settings)
        cancel_url = _listed("cancel_url", bundle.cancel_url, settings)
        connection = connections.of_mode(session, workspace_id, mode)
        subscription = mirror.subscription(session, connection.id, bundle.subscription or "") if connection else None
        if subscription is not None and subscription.customer != bundle.customer:
            raise visits.foreign_subscription()
        row = sessions.mint(
            session,
            workspace_id,
            sessions.Handoff(
                mode=mode,
                customer=bundle.customer,
                subscription=bundle.subscription or "",
                bundle=_bundle_hash(workspace_id, mode, bundle),
                origin="embed",
                return_url=return_url,
                cancel_url=cancel_url,
                embed_origin=origin,
                locale=bundle.locale,
                custom=bundle.custom,
            ),
            preferences=settings,
            connection=connection,
            subscription=subscription,
            now=rt.now(),
        )
    return jsonify(url=links.cancel_url(rt, row), expires_at=int(visits.link_ends_at(row).timestamp()))


@blueprint.post("/api/embed/portal")
@limits.limiter.limit(limits.of("embed_address"))
def portal() -> Response:
    """A signed bundle for a customer, for the link to their portal: `{url}`, the same each time while it is valid."""
    rt = runtime.current()
    bundle = _bundle(has_subscription=False)
    handoff.check_window(bundle, rt.now())
    workspace_id, mode = _verified(rt, bundle)
    with rt.transaction(workspace_id) as session:
        _allowed_origin(preferences.read(session, workspace_id))
        connection = connections.of_mode(session, workspace_id, mode)
        row = portals.mint(
            session,
            workspace_id,
            mode=mode,
            customer=bundle.customer,
            connection_id=connection.id if connection else None,
            now=rt.now(),
        )
    return jsonify(url=links.portal_url(rt, row))


@blueprint.after_request
def finish(response: Response) -> Response:
    """A browser may read the answer only where the workspace has listed its origin, which is known once the signature is verified."""
    response.headers["Cache-Control"] = "no-store"
    response.headers.add("Vary", "Origin")
    if origin := g.get("embed_origin"):
        response.headers["Access-Control-Allow-Origin"] = origin
    return response


def _bundle(*, has_subscription: bool) -> Bundle:
    # One byte more than allowed is read and no more: a length that is announced, or none at all (chunked), proves nothing.
    raw = request.stream.read(handoff.BODY_LIMIT + 1)
    return handoff.read(raw, request.headers.getlist("Holdfast-Signature"), has_subscription=has_subscription)


def _verified(rt: Runtime, bundle: Bundle) -> tuple[str, str]:
    """(workspace, mode) of the secret that signed this bundle. Raises NotAuthenticated."""
    with rt.transaction() as session:
        workspace_id = embed_secrets.workspace_of(session, bundle.workspace) or _NOBODY
        db.tenant(session, workspace_id)
        secrets = embed_secrets.verifying(session, workspace_id, rt.now(), rt.ring)
    modes = [mode for mode, secret in secrets or _decoys(rt) if handoff.is_signed(bundle, secret)]
    if not modes or workspace_id == _NOBODY:
        limits.count("embed_refusals", get_remote_address)
        raise handoff.mismatch(bundle)
    limits.count("embed_workspace", lambda: workspace_id)
    return workspace_id, modes[0]


def _decoys(rt: Runtime) -> list[tuple[str, str]]:
    """As much work as a workspace's own secrets would be."""
    place = {"table": "embed_secrets", "row": "decoy", "workspace": _NOBODY, "purpose": "decoy"}
    decoy = rt.ring.open(rt.ring.seal(_NO_SECRET, **place), **place)
    return [("test", decoy), ("live", decoy)]


def _allowed_origin(settings: Preferences) -> str | None:
    """The browser origin that asks, where one does; raises Forbidden, without a word a browser could read, where it is not listed."""
    origin = request.headers.get("Origin")
    if origin is None:
        return None
    if re.fullmatch(r"[\x21-\x7e]{1,300}", origin) and origin in settings.allowed_origins:
        g.embed_origin = origin
        return origin
    raise Forbidden(
        code="origin_not_allowed",
        message="This origin is not on the workspace's list. Add it in Settings, or hand over from your server.",
    )


def _listed(name: str, url: str | None, settings: Preferences) -> str | None:
    if url is None:
        return None
    if not links.is_listed(url, settings.allowed_origins):
        raise InvalidRequest(
            code="invalid_request",
            message=f"{name} must be an http(s) URL whose origin is on the workspace's list of allowed origins.",
            param=name,
        )
    return url


def _bundle_hash(workspace_id: str, mode: str, bundle: Bundle) -> str:
    parts = (workspace_id, mode, bundle.customer, bundle.subscription or "", str(bundle.timestamp))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
