"""A verifier's answer, with the stretches that were marked on the timeline."""

from __future__ import annotations

from typing import Any

import pytest

from annotation.errors import PageError
from annotation.pages.marks import read_verdict
from annotation.work import Verdict
from tests.annotation.pages.pages import VIEW


def entry(kind: str, control: str, value: dict[str, Any], id: str = "a") -> dict[str, Any]:
    return {"id": id, "type": kind, "from_name": control, "to_name": "video", "value": value}


def verdict(*choices: str) -> dict[str, Any]:
    return entry("choices", "verdict", {"choices": list(choices)}, "v")


def bad(*ranges: tuple[int, int], label: str = "bad mask", id: str = "r") -> dict[str, Any]:
    value = {"ranges": [{"start": a, "end": b} for a, b in ranges], "timelinelabels": [label]}
    return entry("timelinelabels", "bad", value, id)


def reason(*words: str) -> dict[str, Any]:
    return entry("textarea", "reason", {"text": list(words)}, "t")


# VIEW shows the source frames 0, 4, 8, 12.
@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([verdict("satisfactory")], Verdict("satisfactory", "")),
        ([verdict("satisfactory"), reason(" fine\nedges ")], Verdict("satisfactory", "fine edges")),
        ([verdict("unsatisfactory")], Verdict("unsatisfactory", "no frames marked")),
        ([verdict("reject")], Verdict("rejected", "no clear boundary")),
        ([verdict("reject"), reason("a shadow")], Verdict("rejected", "a shadow")),
        (
            [verdict("unsatisfactory"), bad((2, 3))],
            Verdict("unsatisfactory", "bad mask on frames 4 to 8", (4, 8)),
        ),
        (
            [bad((4, 4), id="x"), verdict("unsatisfactory"), bad((1, 2), label="object missed"), reason("look")],
            Verdict("unsatisfactory", "object missed on frames 0 to 4; bad mask on frame 12; look", (0, 12)),
        ),
        (
            [bad((1, 3), (2, 2)), verdict("unsatisfactory")],
            Verdict("unsatisfactory", "bad mask on frames 0 to 8; bad mask on frame 4", (0, 8)),
        ),
        ([verdict("unsatisfactory"), bad((3, 9))], Verdict("unsatisfactory", "bad mask on frames 8 to 12", (8, 12))),
    ],
)  # fmt: skip
def test_an_answer_is_read(regions, expected):
    assert read_verdict(regions, VIEW) == expected


@pytest.mark.parametrize(
    ("regions", "named"),
    [
        ([], "not: none"),
        ([bad((1, 2))], "not: none"),
        ([verdict()], "not: none"),
        ([verdict("satisfactory", "reject")], "satisfactory, reject"),
        ([verdict("good")], "not: good"),
        ([verdict("satisfactory"), bad((1, 2))], "called satisfactory"),
        ([verdict("unsatisfactory"), bad((0, 2))], "'r' marks frames 0 to 2 of a clip with frames 1 to 4"),
        ([verdict("unsatisfactory"), bad((5, 6))], "'r' marks frames 5 to 6"),
        ([verdict("unsatisfactory"), bad((3, 2))], "'r' marks frames 3 to 2"),
        ([verdict("unsatisfactory"), entry("timelinelabels", "bad", {"ranges": None})], "ranges = None"),
        ([verdict("unsatisfactory"), entry("timelinelabels", "bad", {"ranges": [{"start": 1}]})], "a start and an end"),
        ([verdict("unsatisfactory"), entry("timelinelabels", "bad", {"ranges": [[1, 2]]})], "a start and an end"),
        ([verdict("unsatisfactory"), entry("videorectangle", "bad", {})], "type 'videorectangle'"),
        ("text", "list of regions"),
    ],
)  # fmt: skip
def test_an_answer_that_contradicts_itself_is_refused(regions, named):
    with pytest.raises(PageError, match=named):
        read_verdict(regions, VIEW)
