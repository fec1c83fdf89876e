"""The same round with its bytes on an S3 server and its catalog in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.doctor import check
from engine.home import EngineHome, open_home
from engine.machine import advance_round, open_round
from storage.commits import chain


def hashes(home: EngineHome) -> dict[str, str]:
    return {f"{commit.round_id}/{commit.stage}": commit.hash for commit in chain(home.store)}


@pytest.mark.s3
@pytest.mark.postgres
def test_a_round_has_the_same_hashes_wherever_it_is_stored(
    make_home: Callable[..., EngineHome], s3_url: str, postgres_url: str
) -> None:
    here = make_home("here")
    shared = make_home("shared", store_url=s3_url, database_url=postgres_url)
    for home in (here, shared):
        opening = open_round(home, phase=1)
        assert advance_round(home, opening.round_id).state == "done"
    assert shared.store.url.startswith("s3://")
    assert hashes(shared) == hashes(here)
    assert shared.catalog.snapshot() == here.catalog.snapshot()
    assert all(finding.ok for finding in check(open_home(shared.path)))
