"""Settings: setup, the offer, the business's site, and the audit log."""

from typing import Any

from flask import flash, redirect, request
from werkzeug.wrappers import Response

from connect_app import audit, preferences, runtime
from connect_app.admin import cases, deeds, desk, flows, forms, revenue

# What the form says as it is kept; the rest of the setup has rules of its own.
_SETUP: tuple[preferences.Name, ...] = (
    "plain_cancel_only",
    "enrichment",
    "attribution",
    "manage_offers",
    "manage_cancels",
    "cancel_when",
    "cancel_scope",
    "cancel_invoice_now",
    "cancel_prorate",
    "cancel_open_invoices",
    "cancel_single",
    "portal_code",
)


@desk.blueprint.get("/settings")
def setup() -> str:
    """What Holdfast does and what the business's own system does, how cancels are made, and who may sign in through Stripe."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        settings = preferences.read(session, at.workspace_id)
    return _setup_page(forms.SetupForm(formdata=None, data=settings.model_dump()))


def _setup_page(form: forms.SetupForm) -> str:
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        is_attributed = preferences.read(session, at.workspace_id).attribution
        card = revenue.data_card(session, at.workspace_id, at.mode, at.connection) if is_attributed else None
        exempt = flows.exempt(session, at.workspace_id)
    return desk.page("setup.html", "settings", form=form, card=card, exempt=exempt, told=forms.told)


@desk.blueprint.post("/settings")
def save_setup() -> Response | tuple[str, int]:
    """Keep the setup."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        present = preferences.read(session, at.workspace_id)
    form = forms.SetupForm(data=present.model_dump())
    if not form.validate():
        return _setup_page(form), 422
    with rt.transaction(at.workspace_id) as session:
        now, before = rt.now(), preferences.read(session, at.workspace_id)
        # Who may enter is the owners' to decide.
        is_sign_in = form.stripe_sign_in.data if at.member.at_least("owner") else before.stripe_sign_in
        interval = form.save_interval_days.data or before.save_interval_days
        kept: dict[preferences.Name, Any] = {name: form[name].data for name in _SETUP}
        kept |= {"stripe_sign_in": is_sign_in, "save_interval_days": interval}
        for name, value in kept.items():
            preferences.save(session, at.workspace_id, name, value, now)
        if form.attribution.data and not before.attribution:
            cases.look_again(session, at.workspace_id, now)
        audit.record(
            session,
            at.workspace_id,
            actor=at.member.actor,
            verb="settings.setup",
            at=now,
            details={str(name): value for name, value in kept.items()},
        )
    flash("Saved.", "ok")
    return redirect(at.path("/" if "close" in request.form else "/settings"), 303)


@desk.blueprint.get("/settings/site")
def site() -> str:
    """The business's own site: which origins it has, and where customers go back to."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        settings = preferences.read(session, at.workspace_id)
    values = {**settings.model_dump(), "allowed_origins": "\n".join(settings.allowed_origins)}
    return desk.page("site.html", "settings", form=forms.SiteForm(formdata=None, data=values))


@desk.blueprint.post("/settings/site")
def save_site() -> Response | tuple[str, int]:
    """Keep origins and addresses, all or none."""
    rt, at = runtime.current(), desk.here()
    form = forms.SiteForm()
    if not form.validate():
        return desk.page("site.html", "settings", form=form), 422
    with rt.transaction(at.workspace_id) as session:
        now, origins = rt.now(), list(form.origins)
        preferences.save(session, at.workspace_id, "allowed_origins", origins, now)
        preferences.save(session, at.workspace_id, "return_url", form.return_url.data or None, now)
        preferences.save(session, at.workspace_id, "cancel_url", form.cancel_url.data or None, now)
        details = {"allowed_origins": origins, "return_url": form.return_url.data, "cancel_url": form.cancel_url.data}
        audit.record(session, at.workspace_id, actor=at.member.actor, verb="settings.site", at=now, details=details)
    flash("Saved.", "ok")
    return redirect(at.path("/settings/site"), 303)


@desk.blueprint.get("/settings/audit")
def audit_log() -> str:
    """Who did what."""
    rt, at = runtime.current(), desk.here()
    number = desk.page_number()
    with rt.transaction(at.workspace_id) as session:
        entries, has_older = deeds.page(session, at.workspace_id, number)
    return desk.page("audit.html", "settings", entries=entries, number=number, has_older=has_older)
