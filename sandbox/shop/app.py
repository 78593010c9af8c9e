"""The shop's pages: an account page for whichever customer one plays, with *Cancel* and *Manage subscription*."""

from typing import Any

from flask import Flask, Response, jsonify, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox.shop import handover

COOKIE = "shop"


def create_shop(shop: dict[str, Any]) -> Flask:
    """The shop as a Flask application.

    `shop` is `{base_url, shop_url, workspace, embed_secret, customers: [{customer, subscription, shape, name, email, plan, price}]}`.
    """
    app = Flask(__name__)
    accounts: list[dict[str, Any]] = [{**account, "number": number} for number, account in enumerate(shop["customers"])]

    def account() -> dict[str, Any]:
        number = request.cookies.get(COOKIE, "0")
        return accounts[int(number) % len(accounts)] if number.isascii() and number.isdigit() else accounts[0]

    def sent_back(state: str) -> str:
        return f"{shop['shop_url']}/account?{state}"

    @app.get("/")
    def front() -> AnyResponse:
        return redirect("/account", 303)

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "alive"})

    @app.get("/account")
    def page() -> str:
        return render_template("account.html", me=account(), accounts=accounts, back="stayed" in request.args)

    @app.get("/goodbye")
    def goodbye() -> str:
        return render_template("goodbye.html", me=account(), accounts=accounts)

    @app.post("/sign-in-as")
    def sign_in_as() -> AnyResponse:
        answer = redirect("/account", 303)
        answer.set_cookie(COOKIE, request.form.get("number", "0")[:3], httponly=True, samesite="Lax")
        return answer

    @app.post("/account/cancel")
    def cancel() -> AnyResponse | tuple[str, int]:
        me = account()
        urls = {"return_url": sent_back("stayed=1"), "cancel_url": f"{shop['shop_url']}/goodbye"}
        try:
            return redirect(handover.cancel_url(shop, me["customer"], me["subscription"], urls), 303)
        except handover.NoAnswer as problem:
            app.logger.warning("no cancel link: %s", problem)
            return render_template("fallback.html", me=me, accounts=accounts), 503

    @app.post("/account/manage")
    def manage() -> AnyResponse | tuple[str, int]:
        me = account()
        try:
            return redirect(handover.portal_url(shop, me["customer"]), 303)
        except handover.NoAnswer as problem:
            app.logger.warning("no portal link: %s", problem)
            return render_template("fallback.html", me=me, accounts=accounts), 503

    return app
