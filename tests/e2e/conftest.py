"""A workplace for end-to-end tests: an engine home, its Label Studio and model server, and people in browsers.

Everything is done by the engine's own command line. Pictures of what people saw stay in the test's folder.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from annotation.site import Site, read_site
from annotation.work import Submission
from engine.home import EngineHome, open_home
from engine.samples import Sample, load_samples
from engine.stages.base import Row, read_parts
from storage.commits import list_rounds, read_commit
from storage.masks import Rle, area, decode
from tests.e2e.browser import Person
from tests.servers import free_ports
from tests.studio_site import environment_missing, prepared_home, site_template

playwright = pytest.importorskip("playwright.sync_api")

ROOT = Path(__file__).parents[2]
ENGINE = (sys.executable, "-c", "from engine.cli import main; main()")
WAITING = 75
PASSWORD = "three blind mice"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = """
[model]
threads = 1

[round]
videos = 1
objects_per_video = 1
control_objects = 0
lease_s = 5

[auto]
videos = 0

[retrain]
steps = 2
frames = 2
objects = 1
warmup = 1
save_every = 1
processes = 0
"""


class Workplace:
    """An engine home with a site, driven from the command line."""

    def __init__(self, home: Path, browser: playwright.Browser, pictures: Path) -> None:
        self.path = home
        self._browser = browser
        self._pictures = pictures
        self._people: dict[str, Person] = {}

    @property
    def home(self) -> EngineHome:
        """The home, opened."""
        return open_home(self.path)

    @property
    def site(self) -> Site:
        """Addresses and projects."""
        return read_site(self.path)

    def engine(self, *words: str, code: int = 0) -> str:
        """Run `engine WORDS…`; it must end with that exit code. Returns what it printed."""
        done = subprocess.run(
            [*ENGINE, "--home", str(self.path), *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == code, f"engine {' '.join(words)}: exit code {done.returncode}\n{printed}"
        return printed

    def start_round(self, phase: int) -> subprocess.Popen[bytes]:
        """Begin `engine round` and leave it running."""
        words = ["--home", str(self.path), *_round(phase)]
        return subprocess.Popen(
            [*ENGINE, *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def round(self, phase: int, *, code: int = WAITING) -> str:
        """Take the round as far as it goes."""
        return self.engine(*_round(phase), code=code)

    def person(self, name: str, *, role: str = "annotator") -> Person:
        """Invite somebody and sign them in, in a browser of their own; the same name is the same person."""
        if name not in self._people:
            email, secret = f"{name}@example.com", self.path.parent / f"{name}.password"
            secret.write_text(PASSWORD)
            self.engine("studio", "invite", email, "--role", role, "--password-file", str(secret))
            self._people[name] = Person(
                self._browser, self.site.url, email=email, password=PASSWORD, pictures=self._pictures
            )
        return self._people[name]

    @property
    def round_id(self) -> str:
        """The newest round."""
        return max(list_rounds(self.home.store), key=lambda opening: opening.number).round_id

    def rows(self, stage: str, schema: str) -> list[Row]:
        """A manifest of the newest round."""
        commit = read_commit(self.home.store, self.round_id, stage)
        assert commit is not None
        return list(read_parts(self.home, commit.files, schema).to_pylist())

    def masks(self, *, revision: int) -> dict[int, NDArray[np.bool_]]:
        """The masks of a revision in the manifest of annotations, by source frame."""
        return {
            row["frame"]: decode(Rle(row["height"], row["width"], row["counts"]))
            for row in self.rows("annotate", "annotations")
            if row["revision"] == revision
        }

    def handed_in(self, desk: str) -> Mapping[str, Submission]:
        """What lies in the inbox of the newest round, by task."""
        payloads = self.home.inbox.read(self.round_id, desk)
        return {task: Submission.from_json(payload) for task, payload in payloads.items()}

    def close(self) -> None:
        """Close the browsers; nobody may have seen a page break."""
        complaints = [text for person in self._people.values() for text in person.complaints]
        for person in self._people.values():
            person.picture("end")
            person.close()
        assert complaints == []


def _round(phase: int) -> tuple[str, ...]:
    return ("round", "--phase", str(phase), "--annotators", "label-studio", "--no-prefect")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose database is made; Label Studio's environment, too, where it is missing and may be made."""
    if missing := environment_missing():
        pytest.skip(missing)
    return site_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[playwright.Browser]:
    """One headless Chromium for all people; each has a context of their own.

    It ends with the module: Playwright's event loop runs as long as it is open, and other modules have their own.
    """
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def workplace(
    template: Path, browser: playwright.Browser, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Workplace]:
    """A home whose site runs, without videos yet."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    ports = free_ports(2)
    home = tmp_path / "home"
    prepared_home(home, {"port": ports[0], "model_port": ports[1]}, template=template)
    with (home / "engine.toml").open("a") as file:
        file.write(SETTINGS)
    place = Workplace(home, browser, pictures)
    try:
        place.engine("studio", "up")
        yield place
    finally:
        place.close()
        place.engine("studio", "down")


@dataclass(frozen=True, slots=True)
class Clip:
    """A short film of living cells, and where one of them is: its mask in every frame."""

    path: Path
    cell: tuple[NDArray[np.bool_], ...]

    def middle(self, frame: int) -> tuple[float, float]:
        """The point of the cell farthest from its edge, in the middle of a pixel."""
        inside = cv2.distanceTransform(self.cell[frame].astype(np.uint8), cv2.DIST_L2, 5)
        y, x = np.unravel_index(int(inside.argmax()), inside.shape)
        return float(x) + 0.5, float(y) + 0.5

    def box(self, frame: int) -> tuple[float, float, float, float]:
        """The cell's bounding box: x0, y0, x1, y1."""
        ys, xs = np.nonzero(self.cell[frame])
        return float(xs.min()), float(ys.min()), float(xs.max()) + 1, float(ys.max()) + 1


@pytest.fixture(scope="session")
def clip(sample_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Clip]:
    """Makes a film of so many frames, 256 x 256 pixels, of the sample cells; each frame is annotated."""
    sample = load_samples(sample_cache, windows=1)[0]

    def make(count: int) -> Clip:
        path = tmp_path_factory.mktemp("cells") / "cells.mp4"
        with av.open(str(path), "w") as target:
            stream = target.add_stream("libx264", rate=6, options={"crf": "16"})
            stream.height, stream.width, stream.pix_fmt = *sample.frames.shape[1:3], "yuv420p"
            for frame in sample.frames[:count]:
                target.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            target.mux(stream.encode())
        return Clip(path, _largest_cell(sample, count))

    return make


def _largest_cell(sample: Sample, count: int) -> tuple[NDArray[np.bool_], ...]:
    """The masks of the whole cell whose smallest mask is largest."""
    whole = [
        masks
        for number, masks in sample.reference.items()
        if number not in sample.cut_objects and set(masks) >= set(range(count))
    ]
    best = max(whole, key=lambda masks: min(area(masks[frame]) for frame in range(count)))
    return tuple(decode(best[frame]) for frame in range(count))
