"""A Flask application with one route that does nothing: what the server and the framework alone cost."""

from flask import Flask

application = Flask(__name__)


@application.post("/webhooks/stripe")
def nothing() -> str:
    return "ok"
