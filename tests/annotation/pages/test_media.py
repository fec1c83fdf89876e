"""Pictures and films for pages: the right frames in the right size, made once, whole or not at all."""

from __future__ import annotations

import itertools
import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import av
import numpy as np
import PIL.Image
import pytest

from annotation.errors import PageError
from annotation.pages import media as media_module
from annotation.pages.media import MediaRoot, clip_fps
from annotation.pages.tickets import Ticket
from annotation.pages.views import PageView, TaskLimits, plan_views
from model.prompts import Box
from storage.masks import encode
from storage.objects import open_store
from storage.videos import Video, VideoLibrary
from tests.annotation.pages.pages import disc, make_item

HEIGHT, WIDTH, COUNT = 120, 161, 12  # an odd width


def shade(index: int) -> int:
    return 40 + 15 * index


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> VideoLibrary:
    return VideoLibrary(open_store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def video(library) -> Video:
    """Twelve even grey frames, each of another shade, at 24 a second; every second one is annotated."""
    frames = np.stack([np.full((HEIGHT, WIDTH, 3), shade(index), np.uint8) for index in range(COUNT)])
    outcome = library.ingest_array(frames, name="grey", fps=24.0, annotate_fps=12.0)
    assert outcome.video is not None
    return outcome.video


def view_of(video: Video, *, max_height: int = 480) -> PageView:
    limits = TaskLimits(max_height=max_height)
    return plan_views(video.annotated_frames, height=video.height, width=video.width, limits=limits)[0]


def ticket_of(video: Video, view: PageView, **changes) -> Ticket:
    masks = {frame: encode(disc(HEIGHT, WIDTH)) for frame in video.annotated_frames}
    masks[4] = encode(np.zeros((HEIGHT, WIDTH), bool))
    item = make_item("verify", video_id=video.video_id, masks=masks, **changes)
    return Ticket(ticket_id="t", item=item, view=view, checkpoint_hash="c")


def path_of(root: Path, url: str) -> Path:
    """The file that Label Studio serves under an address."""
    parts = urlsplit(url)
    assert parts.path == "/data/local-files/"
    return root / parse_qs(parts.query)["d"][0]


def film_of(root: Path, url: str) -> tuple[list[np.ndarray], av.container.InputContainer]:
    container = av.open(str(path_of(root, url)))
    frames = list(container.decode(video=0))
    assert all(frame.key_frame for frame in frames)
    steps = {float(b.time - a.time) for a, b in itertools.pairwise(frames)}
    assert max(steps) - min(steps) < 1e-4 and frames[0].time == 0
    return [frame.to_ndarray(format="rgb24") for frame in frames], container


@pytest.mark.parametrize("max_height", [480, 60])
def test_pages_show_the_right_frames(tmp_path, library, video, max_height):
    view = view_of(video, max_height=max_height)
    urls = MediaRoot(tmp_path).frames(video, view, library.frames(video))
    pictures = [np.asarray(PIL.Image.open(path_of(tmp_path, url))) for url in urls]
    assert [picture.shape for picture in pictures] == [(view.height, view.width, 3)] * len(view)
    assert [round(float(picture.mean())) for picture in pictures] == [shade(frame) for frame in view.frames]
    assert (view.height, view.width) == ((120, 161) if max_height == 480 else (60, 80))


def test_a_clip_holds_every_frame_in_real_time(tmp_path, library, video):
    view = view_of(video)
    url = MediaRoot(tmp_path).clip(video, view, library.frames(video))
    pictures, container = film_of(tmp_path, url)
    stream = container.streams.video[0]
    assert clip_fps(video, view) == 12.0 == float(stream.average_rate)
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert [round(float(picture[:100, :150].mean())) for picture in pictures] == pytest.approx(
        [shade(frame) for frame in view.frames], abs=3
    )
    assert pictures[0].shape == (146, 162, 3)  # a bar below, and even


def test_films_can_be_played_while_they_load(tmp_path, library, video):
    data = path_of(
        tmp_path, MediaRoot(tmp_path).clip(video, view_of(video), library.frames(video))
    ).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_an_overlay_outlines_the_mask_and_tags_absence(tmp_path, library, video):
    view = view_of(video)
    url = MediaRoot(tmp_path).overlay(ticket_of(video, view), video, library.frames(video))
    pictures, _ = film_of(tmp_path, url)
    assert len(pictures) == len(view)
    times = 3  # small frames are enlarged, so that the line is thin beside the object
    assert pictures[0].shape[:2] == (HEIGHT * times + 26, WIDTH * times + 1)
    outline = disc(HEIGHT, WIDTH).repeat(times, axis=0).repeat(times, axis=1)
    frame = pictures[0][: HEIGHT * times, : WIDTH * times].astype(int)
    middle = frame[HEIGHT * times // 2, WIDTH * times // 2]
    assert middle == pytest.approx([shade(0)] * 3, abs=4)  # what is inside stays visible
    near = frame[(HEIGHT * times) // 2, :]
    edge = int(np.flatnonzero(outline[HEIGHT * times // 2])[0])
    assert near[edge - 6 : edge, 0].max() > 180 and near[edge - 8 : edge, 0].min() < 60  # light and dark
    absent = pictures[view.page_of(4)]
    assert absent[: HEIGHT * times].std() < 2
    bar = slice(HEIGHT * times, None)
    assert absent[bar, :, 0].max() > 180 and absent[bar, :, 1].mean() != pictures[0][bar, :, 1].mean()


def test_an_overlay_is_named_after_what_it_shows(tmp_path, library, video):
    media, view = MediaRoot(tmp_path), view_of(video)
    frames = library.frames(video)
    one = media.overlay(ticket_of(video, view), video, frames)
    assert one == media.overlay(ticket_of(video, view, revision=7), video, frames)
    other = make_item("verify", video_id=video.video_id, masks={0: encode(disc(HEIGHT, WIDTH, x=0.3))})
    assert one != media.overlay(
        Ticket(ticket_id="t", item=other, view=view, checkpoint_hash="c"), video, frames
    )


@pytest.mark.parametrize(
    "marks",
    [
        {"point": (40.0, 60.0)},
        {"box": Box(30, 40, 60, 80)},
        {"point": (0.0, 0.0), "box": Box(0, 0, 161, 120)},
        {},
    ],
)
def test_a_marker_shows_the_frame_and_a_close_up(tmp_path, library, video, marks):
    ticket = ticket_of(video, view_of(video), **marks)
    url = MediaRoot(tmp_path).marker(ticket, video, library.frames(video))
    picture = np.asarray(PIL.Image.open(path_of(tmp_path, url)))
    assert picture.shape == (180, round(WIDTH * 180 / HEIGHT) + 6 + 180, 3)
    assert picture.max() > 200  # a light line


def test_a_marker_without_marks_is_the_frame(tmp_path, library, video):
    view = view_of(video)
    item = make_item("select", video_id=video.video_id, first_frame=2)
    ticket = Ticket(ticket_id="t", item=item, view=view, checkpoint_hash="c")
    url = MediaRoot(tmp_path).marker(ticket, video, library.frames(video))
    picture = np.asarray(PIL.Image.open(path_of(tmp_path, url)))
    assert picture.shape[0] == 180 and round(float(picture.mean())) == shade(2)


def test_everything_is_private_and_made_once(tmp_path, library, video, monkeypatch):
    root, view = tmp_path / "media", view_of(video)
    media, frames = MediaRoot(root), library.frames(video)
    urls = [*media.frames(video, view, frames), media.clip(video, view, frames)]
    made = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in [root, *made])
    assert {path for path in made if path.is_file()} == {path_of(root, url) for url in urls}
    monkeypatch.setattr(media_module, "write_film", lambda *a, **k: pytest.fail("made twice"))
    assert urls == [*media.frames(video, view, frames), media.clip(video, view, frames)]
    assert made == {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_a_file_that_was_not_finished_is_never_shown(tmp_path, library, video, monkeypatch):
    def interrupted(path: Path, pictures: object, *, fps: float) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    media, view, frames = MediaRoot(tmp_path), view_of(video), library.frames(video)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(media_module, "write_film", interrupted)
        media.clip(video, view, frames)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert path_of(tmp_path, media.clip(video, view, frames)).stat().st_size > 1000


def test_a_disk_that_cannot_be_written_is_named(tmp_path, library, video):
    (tmp_path / "files").write_text("in the way")
    with pytest.raises(PageError, match=r"frames/.*could not be written"):
        MediaRoot(tmp_path).frames(video, view_of(video), library.frames(video))


def test_what_does_not_fit_together_is_refused(tmp_path, library, video):
    view, frames = view_of(video), library.frames(video)
    other = PageView(frames=(0,), source_height=HEIGHT, source_width=WIDTH + 1, height=60, width=80)
    with pytest.raises(PageError, match="do not fit"):
        MediaRoot(tmp_path).frames(video, other, frames)
    item = make_item("verify", video_id="f" * 16)
    with pytest.raises(PageError, match="not"):
        MediaRoot(tmp_path).overlay(
            Ticket(ticket_id="t", item=item, view=view, checkpoint_hash="c"), video, frames
        )


def test_films_of_one_frame_and_of_slow_videos_can_be_watched(video):
    one = PageView(frames=(4,), source_height=HEIGHT, source_width=WIDTH, height=HEIGHT, width=WIDTH)
    assert clip_fps(video, one) == 1.0
