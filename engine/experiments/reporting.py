"""From units' results to findings, and to the one page, the figures and the JSON of a folder of experiments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from engine.experiments.base import Experiment, ExperimentError, Place, results
from engine.experiments.catalogue import EXPERIMENTS
from engine.experiments.data import START, TRAINED, DataExperiment
from engine.experiments.footage import Footage, truth_of_frame
from engine.experiments.phases import PhasesExperiment, last_masks
from engine.experiments.rounds import ARMS, LOOP, RoundsExperiment, times
from engine.experiments.units import UnitResult
from engine.home import EngineHome
from engine.reporting import frame_loader
from qa.alignment import align
from qa.report.filmstrip import Shot, make_filmstrip, pick_frames
from qa.report.formats import plural
from qa.report.gallery import Group
from storage.manifests import read_manifest
from storage.masks import Rle, decode, iou, is_empty
from storage.videos import Video

if TYPE_CHECKING:
    from qa.experiments.page import Section

PAGE = "report.html"
FILMS = {
    "drawn": ("drawn video", "drawn videos"),
    "colonies": ("film of colonies", "films of colonies"),
    "cells": ("window of cells", "windows of cells"),
}

PEOPLE_ASSUMED = (
    "People are programs that see the true masks. They click in the middle of the largest error, miss by about a "
    "pixel, stop clicking at an IoU of 0.9, brush what stays below 0.85, and call a propagated mask wrong below 0.75.",
    "Their seconds are modelled: 1 s to find a place, 1.5 s a click, 0.1 s to look at a frame, 4 s and 0.06 s a pixel "
    "of outline to brush; no waiting for the machine, no learning, no fatigue. Persons differ in speed by about 10 %.",
    "Verifiers are programs too; what they refuse goes back to annotation, and that time is counted.",
)
VIDEOS_ASSUMED = (
    "Videos are drawn clips, whose truth is exact, and windows of one movie of nuclei, whose references are a "
    "machine's. Both are small and short beside natural video; the windows share one movie."
)

COLONIES_ASSUMED = (
    "Colonies are drawn films of rods that grow and push each other, whose truth is exact: simpler than real colonies "
    "(no divisions, nothing out of focus), and like nothing that the packaged weights were trained on."
)


@dataclass(frozen=True, slots=True)
class Found:
    """What an experiment found: plain values, its part of the page, and figures to be written as files."""

    values: dict[str, Any]
    section: Section
    figures: Mapping[str, Any]


def findings(experiment: Experiment) -> Found:
    """What a finished experiment found. Raises ExperimentError while a unit is open."""
    done = results(experiment)
    versions = sorted({result.code_version for result in done.values()})
    if isinstance(experiment, PhasesExperiment):
        return _phases(experiment, done, versions)
    if isinstance(experiment, DataExperiment):
        return _data(experiment, done, versions)
    if isinstance(experiment, RoundsExperiment):
        return _rounds(experiment, done, versions)
    raise ExperimentError(f"There is no report for the experiment {experiment.name!r}.")


def write(place: Place, experiment: Experiment) -> tuple[Path, dict[str, Any]]:
    """Write the experiment's JSON, figures and section, and the page with the sections of all that have finished.

    Returns the page and the values.
    """
    found = findings(experiment)
    place.folder.mkdir(parents=True, exist_ok=True)
    for name, figure in found.figures.items():
        figure.savefig(place.folder / f"{name}.png")
    _write_json(place.folder / f"{experiment.name}.json", found.values)
    return _write_page(place, experiment.name, found.section), found.values


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_page(place: Place, name: str, section: Section) -> Path:
    """The page of every experiment here; sections of the others are kept beside it as they were written."""
    from qa.experiments.page import read_section, render, write_section

    write_section(section, place.folder / name / "section.json")
    kept = [place.folder / each / "section.json" for each in EXPERIMENTS]
    sections = [read_section(path) for path in kept if path.is_file()]
    page = place.folder / PAGE
    title = "Does the engine pay?"
    page.write_text(render(sections, title=title, quick=place.scale != "full"), encoding="utf-8")
    return page


def _phases(experiment: PhasesExperiment, done: Mapping[str, UnitResult], versions: Sequence[str]) -> Found:
    from qa.experiments import phases as found_by

    table = pd.DataFrame(list(_masklets(experiment, done)), columns=list(found_by.COLUMNS))
    found = found_by.find(table, {arm.name: arm.phase for arm in experiment.arms})
    size = experiment.size
    trained = (
        f"SAM 2 Mask and SAM 2 were trained for {size.steps} steps of {plural(size.clips, 'clip')} each, half of them "
        "cut from what phase 1 made of other videos of the same kinds, half drawn."
        if size.trains
        else "The helpers are the weights as they come: nothing was trained for this comparison."
    )
    section = found_by.section(
        found,
        about=(
            f"{found.objects} objects of {_films(experiment.measured)}, {size.frames} frames each, were annotated "
            f"from nothing by {len(found.arms) * size.people} people, {size.people} to each of {len(found.arms)} "
            "protocols, dealt at random anew for every video. "
            f"{trained}"
        ),
        strips=_strips(experiment, done),
        assumptions=(
            *PEOPLE_ASSUMED,
            "Phase 1 is the quality reference, as in the paper, though here the truth is known: see the row of it.",
            "Masklets begin from nothing: no masks made beforehand, which rounds of the engine do have.",
            VIDEOS_ASSUMED,
            COLONIES_ASSUMED,
        ),
        versions=versions,
    )
    return Found(found.to_json(), section, {})


def _films(footage: Footage) -> str:
    """`10 drawn videos, 4 films of colonies and 4 windows of cells`."""
    *first, last = [plural(len(videos), *FILMS[kind]) for kind, videos in footage.by_kind.items()]
    return f"{', '.join(first)} and {last}" if first else last


def _masklets(experiment: PhasesExperiment, done: Mapping[str, UnitResult]) -> Iterator[dict[str, Any]]:
    """One row a masklet, with how it compares with phase 1 of the same repetition and with the truth."""
    kinds = {video.name: kind for kind, videos in experiment.measured.by_kind.items() for video in videos}
    for seed in range(experiment.size.seeds):
        for video in experiment.measured.all:
            truth = experiment.home.references.read(video.video_id)
            first = _annotations(experiment.home, done[f"phase-1/seed-{seed}/{video.name}"])
            for arm in experiment.arms:
                result = done[f"{arm.name}/seed-{seed}/{video.name}"]
                made = _annotations(experiment.home, result)
                for masklet in result.values["masklets"]:
                    yield {
                        "arm": arm.name,
                        "seed": seed,
                        "object": f"{video.name}/{masklet['object_id']}",
                        "kind": kinds[video.name],
                        **{name: masklet[name] for name in _TAKEN},
                        "first_look": float(masklet["accepted"] and masklet["revision"] == 1),
                        **_aligned(made, first, masklet["object_id"]),
                        **_true_overlap(made, masklet, truth[masklet["object_id"]], video),
                    }


_TAKEN = ("frames", "annotation_s", "verification_s", "edited_percent", "clicks", "clicked_frames")


def _annotations(home: EngineHome, result: UnitResult) -> pd.DataFrame:
    table: pd.DataFrame = read_manifest(home.store, result.file("annotations")).to_pandas()
    return table


def _aligned(made: pd.DataFrame, first: pd.DataFrame, number: int) -> dict[str, Any]:
    """Masks compared with phase 1, how many agree, and the object's size there."""
    scores = align(made[made["object_id"] == number], first[first["object_id"] == number])
    everything, *sized = scores
    bucket = next((one.bucket for one in sized if one.objects), "")
    return {"bucket": bucket, "masks": everything.masks, "aligned": everything.aligned}


def _true_overlap(
    made: pd.DataFrame, masklet: Mapping[str, Any], truth: Mapping[int, Rle], video: Video
) -> dict[str, Any]:
    """IoU with the truth, summed over the frames on which either shows the object."""
    rows = made[(made["masklet_id"] == masklet["masklet_id"]) & (made["revision"] == masklet["revision"])]
    ious = []
    for frame, height, width, counts in rows[["frame", "height", "width", "counts"]].itertuples(index=False):
        mask, true = Rle(int(height), int(width), counts), truth_of_frame(truth, int(frame), video)
        if not (is_empty(mask) and is_empty(true)):
            ious.append(iou(mask, true))
    return {"true_iou": float(np.sum(ious)), "seen_frames": len(ious)}


def _strips(experiment: PhasesExperiment, done: Mapping[str, UnitResult]) -> list[Group]:
    """The same object by every protocol; of each kind of video the one that phase 3 edited most."""
    strips = []
    load = frame_loader(experiment.home)
    for videos in experiment.measured.by_kind.values():
        found = [
            (masklet["edited_percent"], video.name, masklet["object_id"], video)
            for video in videos
            for masklet in done[f"phase-3/seed-0/{video.name}"].values["masklets"]
        ]
        for _, name, number, video in sorted(found, key=lambda one: one[:3])[-1:]:
            for arm in experiment.arms:
                if arm.name.endswith("-start"):
                    continue
                result = done[f"{arm.name}/seed-0/{name}"]
                masklet = next(one for one in result.values["masklets"] if one["object_id"] == number)
                made = _annotations(experiment.home, result)
                rows = made[
                    (made["masklet_id"] == masklet["masklet_id"]) & (made["revision"] == masklet["revision"])
                ]
                edited = {int(frame) for frame in rows.loc[rows["edited"], "frame"]}
                masks = last_masks(experiment.home, result, {masklet["masklet_id"]: masklet["revision"]})
                shots = [
                    Shot(frame, {number: decode(masks[masklet["masklet_id"]][frame])}, edited=frame in edited)
                    for frame in pick_frames(sorted(masks[masklet["masklet_id"]]), keep=sorted(edited))
                ]
                seconds = masklet["annotation_s"] / max(masklet["frames"], 1)
                text = f"{seconds:.1f} s a frame, {masklet['edited_percent']:.0f} % edited, {masklet['clicks']} clicks"
                badge = ("accepted", "good") if masklet["accepted"] else (masklet["state"], "fair")
                title = f"Phase {arm.phase}: object {number} of {name}"
                strips.append(
                    make_filmstrip(video.video_id, shots, load, title=title, text=text, badge=badge)
                )
    return [Group("The same object by every protocol", "", tuple(strips))]


def _data(experiment: DataExperiment, done: Mapping[str, UnitResult], versions: Sequence[str]) -> Found:
    from qa.experiments import data as found_by

    table = pd.DataFrame(list(_scores(experiment, done)), columns=list(found_by.COLUMNS))
    masklets = {name: len(experiment.rows_of(name)) for name in TRAINED}
    found = found_by.find(table, masklets, _people_seconds(done))
    size = experiment.size
    section = found_by.section(
        found,
        about=(
            "A round in each phase collected masklets with the same weights. From those weights, "
            f"{plural(found.seeds, 'model')} a row was trained for {size.steps} steps of "
            f"{plural(size.clips, 'clip')} at {size.lesson_size} px: on "
            "drawn clips alone, or half on drawn clips and half on masklets. Each row has the data of all rows above."
        ),
        strips=(),
        assumptions=(
            *PEOPLE_ASSUMED,
            "The start is a trained network, not a fresh one as in the paper, and each training is short: gains are "
            "those of a fine-tune.",
            "Equal steps: a row with more masklets sees each of them less often. Rows differ in the videos of their "
            "masklets too, since each phase works on videos that have fewest.",
            VIDEOS_ASSUMED,
            COLONIES_ASSUMED,
        ),
        versions=versions,
    )
    return Found(found.to_json(), section, {})


def _scores(experiment: DataExperiment, done: Mapping[str, UnitResult]) -> Iterator[dict[str, Any]]:
    for name, result in done.items():
        kind, row, *rest = name.split("/")
        if kind == "score":
            seed = 0 if row == START else int(rest[0].removeprefix("seed-"))
            for score in result.values["scores"]:
                yield {
                    "row": row,
                    "seed": seed,
                    "suite": rest[-1],
                    "protocol": score["protocol"],
                    "object": f"{score['video']}/{score['object_id']}",
                    "jf": score["jf"],
                }


def _people_seconds(done: Mapping[str, UnitResult]) -> dict[str, float]:
    """What the masklets of each row cost people, all rows above it included; mining costs verification."""
    spent = {"base": 0.0}
    total = 0.0
    for phase in (1, 2, 3):
        videos = done[f"collect/phase-{phase}"].values["videos"].values()
        total += sum(video[name] for video in videos for name in ("select_s", "annotate_s", "verify_s"))
        spent[f"phase-{phase}"] = total - sum(video["mined_verify_s"] for video in videos)
        if phase == 3:
            spent["auto"] = total
    return spent


def _rounds(experiment: RoundsExperiment, done: Mapping[str, UnitResult], versions: Sequence[str]) -> Found:
    from qa.experiments import rounds as found_by

    costs = pd.DataFrame(list(_costs(experiment, done)), columns=list(found_by.COST_COLUMNS))
    scores = pd.DataFrame(list(_models_in_use(experiment, done)), columns=list(found_by.SCORE_COLUMNS))
    loops = [result for name, result in done.items() if name.startswith(f"{LOOP}/")]
    found = found_by.find(
        costs,
        scores,
        retrained=len(loops),
        promoted=sum(int(result.values["promoted"]) for result in loops),
        training_s=float(np.mean([result.measured.get("retrain_s", 0.0) for result in loops])),
    )
    size = experiment.size
    new = size.kind == "colonies"
    section = found_by.section(
        found,
        name=experiment.name,
        title=found_by.TITLE + (", on a kind of video that is new to the weights" if new else ""),
        about=(
            f"{size.rounds} rounds of phase 3 on {size.videos} videos each, {plural(size.objects, 'object')} a video, "
            f"once with retraining after each ({size.steps} steps of {plural(size.clips, 'clip')}) and once with the "
            f"weights left as they were; the same videos, seeds and people, {times(found.seeds)}. The first round is "
            "the same in both."
        ),
        assumptions=(
            *PEOPLE_ASSUMED,
            "Cost is people's time only; what the machine takes for retraining stands apart.",
            COLONIES_ASSUMED if new else VIDEOS_ASSUMED,
        ),
        versions=versions,
    )
    return Found(found.to_json(), section, {experiment.name: found_by.figure(found)})


def _costs(experiment: RoundsExperiment, done: Mapping[str, UnitResult]) -> Iterator[dict[str, Any]]:
    for name, result in done.items():
        arm, seed, number = name.split("/")
        for video, row in result.values["videos"].items():
            yield {
                "arm": arm,
                "seed": int(seed.removeprefix("seed-")),
                "round": int(number.removeprefix("round-")),
                "video": video,
                "people_s": row["select_s"] + row["annotate_s"] + row["verify_s"],
                "annotate_s": row["annotate_s"],
                "frames": row["frames"],
                "accepted": row["manual"] + row["auto"],
                "auto": row["auto"],
                "planned": row["planned"],
            }


def _models_in_use(experiment: RoundsExperiment, done: Mapping[str, UnitResult]) -> Iterator[dict[str, Any]]:
    """Scores of the model in use after every round: the challenger's if it was promoted, else the champion's."""
    for seed in range(experiment.size.seeds):
        for arm in ARMS:
            for number in range(1, experiment.size.rounds + 1):
                values = done[f"{arm}/seed-{seed}/round-{number}"].values
                used = "challenger" if values["promoted"] else "champion"
                wanted = [(number, used), *([(0, "champion")] if number == 1 else [])]
                for place, role in wanted:
                    for score in values["scores"]:
                        if score["role"] == role:
                            yield {
                                "arm": arm,
                                "seed": seed,
                                "round": place,
                                "protocol": score["protocol"],
                                "object": f"{score['video']}/{score['object_id']}",
                                "jf": score["jf"],
                            }
