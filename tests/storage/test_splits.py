"""Videos that belong together stay on one side of the split, in whatever order they come."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from storage.objects import ObjectStore, open_store
from storage.videos import KEPT_OUT, IngestOutcome, Video, VideoLibrary
from storage.videos.fingerprint import Fingerprint, FingerprintIndex, fingerprint, frame_hash


def scene(seed: int, count: int = 16) -> np.ndarray:
    """A camera that pans over a landscape of blobs: uint8 [T,48,64,3]."""
    noise = np.random.default_rng(seed).random((24, 64, 3)).astype(np.float32)
    wide = cv2.resize(noise, (64 * 4, 24 * 4), interpolation=cv2.INTER_CUBIC)[20:68]
    frames = np.stack([wide[:, t : t + 64] for t in range(count)])
    return np.clip(frames * 255, 0, 255).astype(np.uint8)


def encoded(path: Path, frames: np.ndarray, *, scale: float = 1.0, quality: int = 23) -> Path:
    """An H.264 film of frames, scaled; a higher `quality` number is worse."""
    height, width = (round(side * scale / 2) * 2 for side in frames.shape[1:3])
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24, options={"crf": str(quality)})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for image in frames:
            small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
        file.mux(stream.encode())
    return path


def take(
    library: VideoLibrary, frames: np.ndarray, name: str, split: str = "train", group: str = "", **said: str
) -> Video:
    outcome = library.ingest_array(
        frames, name=name, fps=24, annotate_fps=6, split=split, group=group or None, extra=said
    )
    assert outcome.video is not None
    return outcome.video


# -- looking alike --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "scale", "quality"),
    [(0, 1.0, 40), (0, 0.5, 30), (0, 1.7, 28), (9, 1.0, 23), (13, 0.5, 38)],
    ids=["encoded", "smaller", "larger", "cut", "all of it"],
)
def test_a_copy_is_known_again(
    library: VideoLibrary, tmp_path: Path, cut: int, scale: float, quality: int
) -> None:
    original = encoded(tmp_path / "original.mp4", scene(1, 48))
    copy = encoded(tmp_path / "copy.mp4", scene(1, 48)[cut:], scale=scale, quality=quality)
    first = library.ingest(original, split="eval").video
    second = library.ingest(copy)
    assert first is not None and second.video is not None
    assert (second.video.split, second.video.group) == (KEPT_OUT, first.group)
    assert "looks like video original" in second.reason


def test_other_scenes_are_not_alike(library: VideoLibrary) -> None:
    groups = {take(library, scene(seed), f"scene-{seed}").group for seed in range(4)}
    assert len(groups) == 4


def test_a_frame_that_shows_nothing_is_like_no_other() -> None:
    assert frame_hash(np.full((40, 40, 3), 77, np.uint8)) is None
    blank = fingerprint("a" * 16, [np.zeros((8, 8, 3), np.uint8)], placed=True)
    index = FingerprintIndex()
    index.add(blank)
    assert index.alike(blank) == []


def test_a_fingerprint_reads_back() -> None:
    made = fingerprint("b" * 16, scene(3, 4), placed=True)
    read = Fingerprint.from_json(made.to_json())
    assert (read.video_id, read.placed) == (made.video_id, True)
    assert np.array_equal(read.hashes, made.hashes)
    assert made.hashes.shape == (4, 4)


# -- sides ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tie", ["source_video", "author", "place"])
def test_what_is_said_ties_videos(library: VideoLibrary, tie: str) -> None:
    held = take(library, scene(1), "held", "eval", **{tie: "Anna  B."})
    tied = take(library, scene(2), "tied", **{tie: "anna b."})
    free = take(library, scene(3), "free", **{tie: "Cleo"})
    assert (tied.split, tied.group) == (KEPT_OUT, held.group)
    assert tie.replace("_", " ") in tied.extra["kept_out"]
    assert free.split == "train"


def test_ties_carry_over_in_every_order(tmp_path: Path) -> None:
    """a looks like b, b has the author of c: with c in evaluation, a never trains, or c never judges."""
    videos = {
        "a": (scene(1), "train", ""),
        "b": (scene(1)[2:], "train", "Anna"),
        "c": (scene(2), "eval", "Anna"),
    }
    for order in permutations(videos):
        library = VideoLibrary(open_store(tmp_path / "".join(order)))
        for name in order:
            frames, split, author = videos[name]
            take(library, frames, name, split, author=author)
        sides = {video.name: video.split for video in library.videos()}
        scored = sides["c"] == "eval"
        trained = {name for name in "ab" if sides[name] == "train"}
        assert not (scored and "b" in trained), order
        if order[-1] != "b":  # else a and c were on their sides before b told that they belong together
            assert not (scored and trained), order


def test_a_bridge_is_kept_out_and_what_was_frozen_stays(library: VideoLibrary) -> None:
    train = take(library, scene(1), "train", author="Anna")
    held = take(library, scene(2), "held", "eval", place="Oslo")
    bridge = take(library, scene(3), "bridge", author="Anna", place="Oslo")
    assert (bridge.split, bridge.group) == (KEPT_OUT, held.group)
    assert library.get(train.video_id) == train
    assert train.group not in library.splits().evaluation_groups()
    assert take(library, scene(4), "later", author="Anna").split == KEPT_OUT


def test_what_may_have_been_trained_on_cannot_judge(library: VideoLibrary) -> None:
    train = take(library, scene(1), "train")
    for split in ("eval", "retention"):
        copy = take(library, scene(1)[3:] if split == "eval" else scene(1)[1:], f"copy-{split}", split)
        assert (copy.split, copy.group) == (KEPT_OUT, train.group)
        assert "may have been trained on" in copy.extra["kept_out"]
    assert take(library, scene(1)[5:], "more").split == "train"


def test_a_group_named_by_hand_holds(library: VideoLibrary) -> None:
    take(library, scene(1), "held", "eval", group="kitchen")
    assert take(library, scene(2), "tied", group="kitchen").split == KEPT_OUT
    assert take(library, scene(3), "free", group="garden").group == "garden"


def test_train_groups_that_a_video_ties_become_one(library: VideoLibrary) -> None:
    take(library, scene(1), "one", group="one", author="Anna")
    take(library, scene(2), "two", group="two", place="Oslo")
    both = take(library, scene(3), "both", author="Anna", place="Oslo")
    assert both.split == "train"
    late = take(library, scene(4), "late", "eval", group="two")
    assert late.split == KEPT_OUT


def test_evaluation_and_retention_may_belong_together(library: VideoLibrary) -> None:
    first = take(library, scene(1), "first", "eval", author="Anna")
    second = take(library, scene(2), "second", "retention", author="Anna")
    assert second.split == "retention"
    assert {first.group, second.group} <= library.splits().evaluation_groups()


def test_a_split_never_changes(library: VideoLibrary) -> None:
    first = take(library, scene(1), "held", "eval")
    again: IngestOutcome = library.ingest_array(scene(1), name="held", fps=24, annotate_fps=6, split="train")
    assert (again.status, again.video) == ("already", first)


def test_a_second_process_sees_what_the_first_took(store: ObjectStore) -> None:
    take(VideoLibrary(store), scene(1), "held", "eval", author="Anna")
    assert take(VideoLibrary(store), scene(2), "tied", author="Anna").split == KEPT_OUT


# -- homes from before ------------------------------------------------------------------------------------------


def test_a_leak_of_an_older_home_is_found(library: VideoLibrary, store: ObjectStore) -> None:
    take(library, scene(1), "held", "eval")
    take(library, scene(2), "fine")
    copy = take(library, scene(3), "copy")
    for index, image in enumerate(scene(1)[1::4]):  # as an engine without fingerprints would have taken it
        store.put(copy.frame_key(4 * index), cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    for key in list(store.list("fingerprints/")):
        store.delete(key)
    book = VideoLibrary(store).splits()
    assert list(book.leaks()) == [copy.video_id]
    assert "looks like" in book.leaks()[copy.video_id]
    assert len(list(store.list("fingerprints/"))) == 3
    assert VideoLibrary(store).splits().leaks() == book.leaks()


def test_a_new_home_has_nothing_to_find(library: VideoLibrary) -> None:
    take(library, scene(1), "held", "eval")
    take(library, scene(2), "fine")
    assert library.splits().leaks(thorough=True) == {}
