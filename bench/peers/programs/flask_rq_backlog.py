"""Enqueues one job for each line (an event's JSON) of the file that is named, as the usual handler would."""

import json
import sys

from flask_rq import process, queue

if __name__ == "__main__":
    with open(sys.argv[1]) as lines:
        events = [json.loads(line) for line in lines]
    jobs = [queue.prepare_data(process, args=(event["id"], json.dumps(event, indent=2)), result_ttl=0) for event in events]
    queue.enqueue_many(jobs)
