"""A Flask application with one route that does nothing, on our own server: what server and framework alone cost."""

import sys

from flask import Flask

from connect_app import server

application = Flask(__name__)


@application.post("/webhooks/stripe")
def nothing() -> str:
    return "ok"


if __name__ == "__main__":
    server.APPLICATION = "bench.peers.nothing:application"
    sys.exit(server.main(sys.argv[1:]))
