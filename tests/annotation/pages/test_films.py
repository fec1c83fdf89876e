"""Films for people: every frame is there, is a key frame, and stands where its number says."""

from __future__ import annotations

import av
import numpy as np
import pytest

from annotation.errors import PageError
from annotation.pages.films import film_rate, write_film


@pytest.mark.parametrize(
    ("seconds", "frames", "rate"),
    [(3.8372, 24, 5.994), (1.0, 7, 6.0), (0.0, 1, 1.0), (0.0, 5, 1.0), (600.0, 7, 1.0), (0.01, 11, 60.0)],
)
def test_the_rate_is_that_of_real_time_as_far_as_it_can_be_watched(seconds, frames, rate):
    assert film_rate(seconds, frames) == rate


@pytest.mark.parametrize("fps", [1.0, 5.994, 6.25, 60.0])
@pytest.mark.parametrize("size", [(2, 2), (33, 47), (64, 48)])
def test_every_frame_stands_where_its_number_says(tmp_path, fps, size):
    path = tmp_path / "film.mp4"
    path.touch()
    write_film(path, (np.full((*size, 3), 20 + 20 * number, np.uint8) for number in range(10)), fps=fps)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == pytest.approx(fps, abs=1e-9)
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([number / fps for number in range(10)], abs=1e-6)
    assert all(frame.key_frame for frame in frames)
    shades = [float(frame.to_ndarray(format="rgb24").mean()) for frame in frames]
    assert shades == pytest.approx([20 + 20 * number for number in range(10)], abs=3)
    assert (frames[0].height % 2, frames[0].width % 2) == (0, 0)


def test_a_film_without_frames_is_refused(tmp_path):
    with pytest.raises(PageError, match="at least one"):
        write_film(tmp_path / "film.mp4", [], fps=6.0)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(PageError, match="nowhere"):
        write_film(tmp_path / "nowhere" / "film.mp4", [np.zeros((8, 8, 3), np.uint8)], fps=6.0)
