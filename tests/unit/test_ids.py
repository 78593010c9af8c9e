"""Ids are ordered by time and never the same twice."""

import re
import time

from connect_app import ids


def test_an_id_names_its_thing() -> None:
    assert re.fullmatch(r"ses_[0-9a-z]{26}", ids.new("ses"))


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = []
    for _ in range(5):
        made.append(ids.new("act"))
        time.sleep(0.002)
    assert made == sorted(made)


def test_ids_of_one_moment_differ() -> None:
    assert len({ids.new("act") for _ in range(10_000)}) == 10_000
