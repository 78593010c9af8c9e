"""The shop as a process: `python -m sandbox.shop --port 8002 --config var/demo/shop.json`."""

import argparse
import json
import logging
from pathlib import Path

from werkzeug.serving import make_server

from sandbox.shop import app


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.shop")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--config", type=Path, required=True)
    wanted = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    shop = app.create_shop(json.loads(wanted.config.read_text()))
    # `localhost` may mean ::1 first; browsers and clients fall back to 127.0.0.1.
    make_server("127.0.0.1", wanted.port, shop, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
