"""The local Stripe as a process: `python -m sandbox.stripe --port 8001 --seed`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from sandbox.stripe import seed
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.server import Server
from sandbox.stripe.worlds import word


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.stripe", description="A local Stripe.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--base-url", help="how browsers reach it; http://HOST:PORT if not given")
    parser.add_argument("--seed", action="store_true", help="start with accounts, customers and subscriptions")
    parser.add_argument("--redirect-uri", action="append", default=[], help="an allowed OAuth redirect URI; loopback ones if none is given")
    parser.add_argument("--platform-name", default="Holdfast")
    for mode in ("test", "live"):
        parser.add_argument(f"--{mode}-key", default=f"sk_{mode}_" + word(24), help=f"the platform's secret key in {mode} mode")
        parser.add_argument(f"--{mode}-client-id", default="ca_" + word(32), help=f"the platform's client id in {mode} mode")
    wanted = parser.parse_args()
    local = LocalStripe(
        keys={False: wanted.test_key, True: wanted.live_key},
        client_ids={False: wanted.test_client_id, True: wanted.live_client_id},
        redirect_uris=wanted.redirect_uri,
        platform_name=wanted.platform_name,
    )
    server = Server(local, wanted.host, wanted.port)
    local.base_url = wanted.base_url or f"http://{wanted.host}:{server.server_port}"
    if wanted.seed:
        seed.plant(local)
    local.deliveries.start()

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"local Stripe on {local.base_url}", flush=True)
    server.serve_forever(poll_interval=0.2)
    server.server_close()
    sys.exit(0)


if __name__ == "__main__":
    main()
