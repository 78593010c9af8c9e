"""The usual handler: Stripe's construct_event, one RQ job for each event, 200. Its job keeps the subscription in PostgreSQL."""

import json
import os

import psycopg
import stripe
from flask import Flask, request
from redis import Redis
from rq import Queue

application = Flask(__name__)
queue = Queue("stripe", connection=Redis.from_url(os.environ["BENCH_REDIS"]))
_SECRET = os.environ["BENCH_SECRET"]
_connections = []

TABLE = "create table if not exists subscriptions (id text primary key, customer text, status text, period_end bigint, raw jsonb)"
_KEEP = """
insert into subscriptions (id, customer, status, period_end, raw) values (%s, %s, %s, %s, %s)
on conflict (id) do update set customer = excluded.customer, status = excluded.status, period_end = excluded.period_end, raw = excluded.raw
"""


@application.post("/webhooks/stripe")
def receive():
    """Verify with the SDK's own call, hand the event to a worker."""
    try:
        event = stripe.Webhook.construct_event(request.get_data(), request.headers["Stripe-Signature"], _SECRET)
    except (ValueError, stripe.SignatureVerificationError):
        return "", 400
    queue.enqueue(process, event["id"], request.get_data(as_text=True), result_ttl=0)
    return "", 200


def process(event_id, text):
    """One event: its subscription is kept, committed."""
    del event_id
    if not _connections:
        _connections.append(psycopg.connect(os.environ["BENCH_DATABASE"], autocommit=True))
    found = json.loads(text)["data"]["object"]
    end = found["items"]["data"][0]["current_period_end"]
    _connections[0].execute(_KEEP, (found["id"], found["customer"], found["status"], end, json.dumps(found)))
