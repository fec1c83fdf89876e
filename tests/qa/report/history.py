"""A made-up history of rounds on videos of moving discs, with every table a report needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa

from qa.report import ExtraFilmstrip, GateOutcome, RoundReportData, RunReportData, empty_table
from storage.commits import Commit
from storage.manifests import FileRef
from storage.masks import area, encode
from storage.schemas import SCHEMAS

STEP = 4  # every 4th source frame is annotated
COLOURS = ((214, 84, 60), (58, 140, 200), (236, 190, 70), (110, 180, 90))
SECONDS = {"click": 1.5, "brush": 6.0, "locate": 1.0, "examine": 0.1, "verdict": 4.0}
CLICKS = {1: 5, 2: 4, 3: 3}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Disc:
    """An object: it circles through the picture and is away during `away` (share of the video)."""

    radius: float
    start: float
    away: tuple[float, float] = (2.0, 2.0)


DISCS = (Disc(0.2, 0.0), Disc(0.09, 2.0, (0.4, 0.6)), Disc(0.05, 4.0), Disc(0.13, 5.2))


@dataclass(frozen=True)
class Scene:
    """A video: its frames are drawn when asked for."""

    number: int
    height: int = 54
    width: int = 96
    frames: int = 12

    @property
    def video_id(self) -> str:
        return sha(f"video {self.number}")[:16]

    @property
    def indices(self) -> range:
        return range(0, self.frames * STEP, STEP)

    def place(self, disc: Disc, frame: int) -> tuple[int, int]:
        turn = disc.start + self.number + frame / (self.frames * STEP) * 4
        return round((0.5 + 0.3 * np.cos(turn)) * self.width), round(
            (0.5 + 0.28 * np.sin(turn)) * self.height
        )

    def mask(self, object_id: int, frame: int, shift: int = 0) -> np.ndarray:
        disc = DISCS[object_id - 1]
        mask = np.zeros((self.height, self.width), np.uint8)
        if not disc.away[0] <= frame / (self.frames * STEP) < disc.away[1]:
            x, y = self.place(disc, frame)
            cv2.circle(mask, (x + shift, y), round(disc.radius * self.height), 1, -1)
        return mask.astype(bool)

    def picture(self, frame: int) -> np.ndarray:
        rows, columns = np.mgrid[0 : self.height, 0 : self.width]
        shade = 90 + 50 * rows / self.height + 14 * np.sin(columns / self.width * 18 + self.number)
        picture = np.repeat(shade[..., None], 3, axis=2) * np.array([0.92, 1.0, 1.08])
        for object_id, colour in enumerate(COLOURS, 1):
            mask = self.mask(object_id, frame)
            picture[mask] = np.array(colour) * (0.75 + 0.3 * rows[mask, None] / self.height)
        return np.clip(picture, 0, 255).astype(np.uint8)

    def row(self) -> dict:
        return {
            "video_id": self.video_id, "name": f"discs-{self.number}.mp4", "split": "train", "height": self.height,
            "width": self.width, "frame_count": self.frames * STEP, "fps": 24.0,
            "duration_s": self.frames * STEP / 24, "annotated_frames": self.frames,
        }  # fmt: skip


@dataclass
class RoundMaker:
    """Collects the rows of one round."""

    number: int
    phase: int
    scenes: list[Scene]
    rows: dict[str, list[dict]] = field(default_factory=dict)

    @property
    def round_id(self) -> str:
        return f"r{self.number:04d}-p{self.phase}"

    def add(self, table: str, **row: object) -> None:
        self.rows.setdefault(table, []).append(row)

    def masklet_id(self, scene: Scene, object_id: int) -> str:
        return f"{scene.video_id[:8]}-{object_id:03d}-r{self.number:04d}"

    def plan(self, scene: Scene, object_id: int, reason: str = "selected") -> str:
        masklet = self.masklet_id(scene, object_id)
        x, y = scene.place(DISCS[object_id - 1], 0)
        self.add(
            "plan", round_id=self.round_id, masklet_id=masklet, video_id=scene.video_id, object_id=object_id,
            phase=self.phase, reason=reason, first_frame=0, x=float(x), y=float(y), x0=None, y0=None, x1=None,
            y1=None, name=f"disc {object_id}", seed=self.number,
        )  # fmt: skip
        return masklet

    def annotate(
        self, scene: Scene, object_id: int, *, revision: int = 1, shift: int = 0, masklet: str = ""
    ) -> None:
        masklet = masklet or self.masklet_id(scene, object_id)
        every = 1 if self.phase == 1 else 5
        for place, frame in enumerate(scene.indices):
            edited = (place + revision - 1) % every == 0
            self._mask(
                "annotations", masklet, scene, object_id, frame, shift, edited=edited, revision=revision
            )
            kinds = ["examine"] if self.phase > 1 else []
            if edited:
                kinds += [
                    "locate",
                    *["click"] * CLICKS[self.phase],
                    *(["brush"] * 3 if self.phase == 1 else []),
                ]
            for kind in kinds:
                self._effort(masklet, revision, kind, frame, "annotator")

    def mine(self, scene: Scene, object_id: int, *, shift: int = 0) -> str:
        masklet = f"{scene.video_id[:8]}-{100 + object_id:03d}-r{self.number:04d}"
        for frame in scene.indices:
            self._mask("auto_masklets", masklet, scene, object_id, frame, shift)
        return masklet

    def _mask(
        self, table: str, masklet: str, scene: Scene, object_id: int, frame: int, shift: int, *, edited: bool = False,
        revision: int = 1,
    ) -> None:  # fmt: skip
        rle = encode(scene.mask(object_id, frame, shift))
        row = {
            "masklet_id": masklet, "video_id": scene.video_id, "object_id": object_id, "frame": frame,
            "height": rle.height, "width": rle.width, "counts": rle.counts,
        }  # fmt: skip
        if table == "annotations":
            row |= {
                "revision": revision, "area": area(rle), "edited": edited, "clicks": CLICKS[self.phase] * edited,
                "origin": "manual", "annotator": "annotator-1", "phase": self.phase, "locked": False,
            }  # fmt: skip
        else:
            row |= {
                "object_score": 4.0, "predicted_iou": 0.9, "stability": 0.97, "point_x": 1.0, "point_y": 1.0,
                "grid": 0,
            }  # fmt: skip
        self.add(table, **row)

    def _effort(self, masklet: str, revision: int, kind: str, frame: int, role: str) -> None:
        order = len(self.rows.get("effort", []))
        self.add(
            "effort", event_id=f"{order:06d}", round_id=self.round_id, masklet_id=masklet, revision=revision,
            actor=f"{role}-1", role=role, kind=kind, frame=frame, x=1.0, y=1.0, positive=True, at_s=float(order),
            duration_s=SECONDS[kind],
        )  # fmt: skip

    def judge(
        self, masklet: str, verdict: str, *, revision: int = 1, desk: str = "annotation", reason: str = "",
        bad: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.add(
            "verdicts", masklet_id=masklet, revision=revision, verifier="verifier-1", verdict=verdict, reason=reason,
            bad_from=bad[0] if bad else None, bad_to=bad[1] if bad else None, duration_s=4.0, desk=desk,
        )  # fmt: skip
        self._effort(masklet, revision, "verdict", 0, "verifier")

    def train(self, steps: int) -> None:
        rng = np.random.default_rng(self.number)
        for step in range(steps):
            mask, dice = (1.0 + rng.gamma(2, 0.15)) / (1 + step / 20), 0.6 / (1 + step / 40)
            self.add(
                "training", step=step, split="train", loss=float(mask + dice + 0.1), loss_mask=float(mask),
                loss_dice=float(dice), loss_iou=0.08, loss_class=0.02, lr=1e-4, grad_norm=0.3,
            )  # fmt: skip

    def evaluate(self, scores: dict[str, dict[str, float]]) -> None:
        """`scores`: role → protocol → J&F."""
        for role, by_protocol in scores.items():
            for protocol, score in by_protocol.items():
                rows = metric_rows(self.round_id, role, protocol, score)
                self.rows.setdefault("metrics", []).extend(rows)

    def table(self, name: str) -> pd.DataFrame:
        return manifest(name, self.rows.get(name, []))

    def dataset(self, before: pd.DataFrame) -> pd.DataFrame:
        """The version before, and what was accepted in this round (controls stay out)."""
        controls = {row["masklet_id"] for row in self.rows["plan"] if row["reason"] == "control"}
        last = pd.DataFrame(self.rows["verdicts"]).drop_duplicates("masklet_id", keep="last")
        good = last[(last["verdict"] == "satisfactory") & ~last["masklet_id"].isin(controls)]
        rows = [
            {
                "masklet_id": row["masklet_id"], "revision": row["revision"], "video_id": "v", "object_id": 1,
                "round_id": self.round_id, "phase": self.phase, "origin": "manual" if row["revision"] else "auto",
                "split": "train", "group": "g", "first_frame": 0, "frames_visible": 12, "edited_frames": 3,
                "mean_area": 200.0, "masks_key": "k", "masks_sha256": sha("k"),
            }
            for row in good.to_dict("records")
        ]  # fmt: skip
        return manifest("dataset", [*before.to_dict("records"), *rows])

    def commits(self, checkpoint: str) -> tuple[Commit, ...]:
        made: list[Commit] = []
        for stage, tables in STAGES.items():
            files = tuple(
                FileRef(
                    f"{name}.parquet",
                    f"manifests/{name}",
                    sha(f"{self.round_id}{name}"),
                    len(self.rows[name]),
                    name,
                )
                for name in tables
                if name in self.rows
            )
            parents = (made[-1].hash,) if made else ()
            made.append(Commit(self.round_id, stage, parents, sha("s"), "0.1.0", checkpoint, 7, files))
        return tuple(made)


STAGES = {
    "plan": ("plan",), "prelabel": (), "annotate": ("annotations", "effort"), "verify": ("verdicts",),
    "auto": ("auto_masklets",), "dataset": (), "retrain": ("training",), "evaluate": ("metrics",), "close": (),
}  # fmt: skip


def manifest(name: str, rows: list[dict]) -> pd.DataFrame:
    """The rows as they come out of a manifest file: with its columns, types and missing values."""
    return pa.Table.from_pylist(rows, schema=SCHEMAS[name]).to_pandas()


def metric_rows(round_id: str, role: str, protocol: str, score: float) -> list[dict]:
    objects = [
        ("video-a", 1, score + 4),
        ("video-a", 2, score - 6),
        ("video-b", 1, score + 2),
        ("", -1, score),
    ]
    return [
        {
            "round_id": round_id, "role": role, "checkpoint_hash": sha(f"{round_id}{role}"), "protocol": protocol,
            "video_id": video, "object_id": object_id, "j": jf - 1, "f": jf + 1, "jf": jf, "frames": 10,
        }
        for video, object_id, jf in objects
    ]  # fmt: skip


def fill_phase_1(maker: RoundMaker) -> None:
    first, second = maker.scenes[:2]
    for scene, object_id in ((first, 1), (first, 2), (second, 1)):
        masklet = maker.plan(scene, object_id)
        maker.annotate(scene, object_id)
        maker.judge(masklet, "satisfactory")


def fill_later(maker: RoundMaker) -> None:
    """A control, one accepted at once, one sent back and then accepted, one rejected."""
    first, second, third = maker.scenes[:3]
    for scene, object_id, reason in ((first, 1, "control"), (second, 2, "selected")):
        masklet = maker.plan(scene, object_id, reason)
        maker.annotate(scene, object_id, shift=1)
        maker.judge(masklet, "satisfactory")
    sent_back = maker.plan(third, 1)
    maker.annotate(third, 1, shift=third.width // 12)
    maker.judge(sent_back, "unsatisfactory", reason="drifts <off> the object", bad=(16, 28))
    maker.annotate(third, 1, revision=2)
    maker.judge(sent_back, "satisfactory", revision=2)
    rejected = maker.plan(third, 3)
    maker.annotate(third, 3)
    maker.judge(rejected, "rejected", reason="no clear boundary")


def fill_auto(maker: RoundMaker) -> None:
    for scene in maker.scenes[:2]:
        maker.judge(maker.mine(scene, 4), "satisfactory", revision=0, desk="auto")
    corrected = maker.mine(maker.scenes[1], 3, shift=maker.scenes[1].width // 8)
    maker.judge(corrected, "unsatisfactory", revision=0, desk="auto", reason="misses a part")
    maker.annotate(maker.scenes[1], 3, masklet=corrected)
    maker.judge(corrected, "satisfactory", desk="auto")
    failed = maker.mine(maker.scenes[2], 4, shift=maker.scenes[2].width // 6)
    maker.judge(failed, "unsatisfactory", revision=0, desk="auto", reason="covers two things")


def make_round(
    number: int, phase: int, scenes: list[Scene], before: RoundReportData | None
) -> RoundReportData:
    """One finished round; the score rises by 6 a round, and rounds whose number is a multiple of 4 fail the gate."""
    maker = RoundMaker(number, phase, scenes)
    (fill_phase_1 if phase == 1 else fill_later)(maker)
    if phase == 3:
        fill_auto(maker)
    promote = number % 4 != 0
    champion = {"mask": 40.0 + 6 * (number - 1), "3-click": 30.0 + 6 * (number - 1)}
    gain = 6.0 if promote else -2.0
    maker.evaluate(
        {"champion": champion, "challenger": {name: score + gain for name, score in champion.items()}}
    )
    maker.train(20 * number)
    start = before.checkpoint_after if before else sha("base")
    end = sha(f"checkpoint {number}") if promote else start
    names = ("plan", "annotations", "effort", "verdicts", "auto_masklets", "training", "metrics")
    frames = {scene.video_id: scene for scene in scenes}
    return RoundReportData(
        round_id=maker.round_id,
        number=number,
        phase=phase,
        seed=7,
        people="simulated",
        settings={"round.videos": "3", "retrain.steps": str(20 * number)},
        time_model={"locate_s": "1.0 s", "click_s": "1.5 s", "examine_s_per_frame": "0.1 s"},
        dataset=maker.dataset(before.dataset if before else empty_table("dataset")),
        videos=pd.DataFrame([scene.row() for scene in scenes]),
        gate=GateOutcome(
            promote,
            f"{'promoted' if promote else 'refused'}: J&F {gain:+.2f} under 'mask' (95% interval +1 to +9)",
            gain,
            (1.0, 9.0),
        ),
        checkpoint_before=start,
        checkpoint_after=end,
        commits=maker.commits(start),
        stage_seconds={
            "plan": 0.4,
            "prelabel": 6.1,
            "annotate": 33.0,
            "auto": 21.5,
            "retrain": 88.0,
            "evaluate": 40.2,
        },
        frame=lambda video_id, frame: frames[video_id].picture(frame),
        **{name: maker.table(name) for name in names},
    )


def make_run(
    phases: tuple[int, ...] = (1, 3), *, height: int = 54, width: int = 96, frames: int = 12
) -> RunReportData:
    """A history of rounds in these phases on three videos of that size."""
    scenes = [Scene(number, height, width, frames) for number in range(3)]
    rounds: list[RoundReportData] = []
    for number, phase in enumerate(phases, 1):
        rounds.append(make_round(number, phase, scenes, rounds[-1] if rounds else None))
    scene = scenes[0]
    extra = ExtraFilmstrip(
        title="Automatic masklets on a video without references",
        text="32 × 32 prompts on the first frame",
        frames=[scene.picture(frame) for frame in scene.indices],
        masks=[
            {object_id: scene.mask(object_id, frame) for object_id in (1, 2, 4)} for frame in scene.indices
        ],
        frame_numbers=list(scene.indices),
    )
    baseline = [
        row
        for name, score in (("mask", 40.0), ("3-click", 30.0))
        for row in metric_rows("", "champion", name, score)
    ]
    copied = metric_rows("", "base", "copy-first-mask", 22.5)
    return RunReportData(
        title="Moving discs",
        rounds=tuple(rounds),
        baseline=manifest("metrics", baseline),
        copy_first_mask=manifest("metrics", copied),
        extra_filmstrips=(extra,),
    )


def make_empty_round() -> RoundReportData:
    """A round that was only opened."""
    return RoundReportData(round_id="r0001-p2", number=1, phase=2, seed=0, people="label-studio")


def without(data: RoundReportData, *tables: str) -> RoundReportData:
    """The round with those tables emptied."""
    return replace(data, **{name: empty_table(name) for name in tables})
