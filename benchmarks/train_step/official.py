"""The same training step made of the official package's modules.

The package ships no training code; this is what its training repository does, in our words: one image-encoder
pass, `_track_step` for each frame, prompted frames first, corrections that run the heads again, the memory encoder
after every frame, and losses on all candidates enlarged to the size of the input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.compare.official import Official
from benchmarks.compare.rows import Job, Row
from benchmarks.train_step.rows import StepRow
from model.clicks import error_clicks, noisy_boxes
from model.network.sam2 import Sam2
from model.training.batch import Batch

__all__ = ["OfficialStep"]

Points = dict[str, Tensor]


class OfficialStep:
    """The official network in training mode; `loss` is a step's forward pass."""

    def __init__(self, row: StepRow, weights: Path) -> None:
        frame = Row(id=row.id, title=row.title, task="track", size=row.size, image_size=row.image_size)
        self.row = row
        self.network: Any = Official(Job(row=frame, side="official"), weights).predictor
        self.network.train()
        for module in self.network.modules():  # what is random is switched off on both sides
            for name in ("dropout_p", "drop_prob", "p"):
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, 0.0)

    def loss(self, ours: Sam2, batch: Batch) -> Tensor:
        """The total loss; `ours` only normalises the pictures, as cheaply for both."""
        return _Pass(self.network, self.row, batch).run(ours.preprocess(batch.images.flatten(0, 1)))


class _Pass:
    def __init__(self, network: Any, row: StepRow, batch: Batch) -> None:
        import numpy as np

        self.network, self.row, self.batch = network, row, batch
        self.recipe, self.plan = row.recipe, row.plan
        clips = [np.random.default_rng(seed) for seed in batch.seeds]
        self.generators = [clips[clip] for clip in batch.clip_of_object.tolist()]
        self.outputs: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def run(self, images: Tensor) -> Tensor:
        encoded = self.network.forward_image(images)
        _, features, positions, sizes = self.network._prepare_backbone_features(encoded)
        total = images.new_zeros(())
        for frame in self.plan.order(self.row.frames):
            rows = frame * self.row.clips + self.batch.clip_of_object
            own, places = ([x[:, rows] for x in maps] for maps in (features, positions))
            for answer in self._frame(frame, own, places, sizes):
                total = total + _loss(answer, self.batch.masks[frame][:, None])
        return total

    def _frame(self, frame: int, features: list[Tensor], positions: list[Tensor], sizes: Any) -> list[Any]:
        """All answers of a frame; the last one is remembered."""
        prompted, kind = frame in self.plan.initial, self.plan.kind(frame)
        mask = self.batch.masks[frame][:, None].float() if kind == "mask" else None
        points = self._first(frame, kind)
        output, answer, high_res, conditioned = self.network._track_step(
            frame,
            prompted,
            features,
            positions,
            sizes,
            points,
            mask,
            self.outputs,
            self.row.frames,
            False,
            None,
        )
        answers = [answer]
        if frame in self.plan.corrected:
            for from_truth in self.plan.clicks_from_truth(frame, self.recipe.correction_clicks):
                points = self._correct(frame, points, None if from_truth else answers[-1][4])
                answers.append(
                    self.network._forward_sam_heads(
                        backbone_features=conditioned,
                        point_inputs=points,
                        mask_inputs=answers[-1][3],
                        high_res_features=high_res,
                        multimask_output=self.network._use_multimask(prompted, points),
                    )
                )
        *_, low_res, large, pointer, score = answers[-1]
        output |= {"pred_masks": low_res, "pred_masks_high_res": large, "obj_ptr": pointer}
        self.network._encode_memory_in_output(features, sizes, points, True, large, score, output)
        kept = prompted or frame in self.plan.corrected
        self.outputs["cond_frame_outputs" if kept else "non_cond_frame_outputs"][frame] = output
        return answers

    def _first(self, frame: int, kind: str | None) -> Points | None:
        if kind in (None, "mask"):
            return None
        truth = self.batch.masks[frame].numpy()
        draw = (
            noisy_boxes(truth, self.generators)
            if kind == "box"
            else error_clicks(truth, None, self.generators)
        )
        return dict(zip(("point_coords", "point_labels"), map(torch.from_numpy, draw), strict=True))

    def _correct(self, frame: int, points: Points | None, answer: Tensor | None) -> Points:
        guess = None if answer is None else (answer[:, 0] > 0).numpy()
        drawn = error_clicks(self.batch.masks[frame].numpy(), guess, self.generators)
        new = dict(zip(("point_coords", "point_labels"), map(torch.from_numpy, drawn), strict=True))
        return new if points is None else {name: torch.cat([points[name], new[name]], dim=1) for name in new}


def _loss(answer: Any, truth: Tensor) -> Tensor:
    """20 focal + dice + IoU + presence of one prediction, summed over objects and divided by their number."""
    _, logits, ious, _, _, _, score = answer
    count = truth.shape[0]
    target = truth.float().expand_as(logits)
    present = truth.flatten(1).any(dim=1).float()[:, None]  # N 1
    focal, dice = _focal(logits, target) / count, _dice(logits, target) / count
    guess, real = logits.flatten(2) > 0, target.flatten(2) > 0
    actual = (guess & real).sum(-1).float() / (guess | real).sum(-1).float().clamp(min=1.0)
    iou = (F.l1_loss(ious, actual, reduction="none") / count).mean(dim=1, keepdim=True)
    if logits.shape[1] > 1:
        best = (20 * focal + dice).argmin(dim=1, keepdim=True)
        focal, dice = focal.gather(1, best), dice.gather(1, best)
    presence = F.binary_cross_entropy_with_logits(score, present, reduction="sum") / count
    return ((20 * focal + dice + iou) * present).sum() + presence


def _focal(logits: Tensor, target: Tensor) -> Tensor:
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = probability * target + (1 - probability) * (1 - target)
    loss = entropy * ((1 - right) ** 2) * (0.25 * target + 0.75 * (1 - target))
    return loss.flatten(2).mean(-1)


def _dice(logits: Tensor, target: Tensor) -> Tensor:
    probability, flat = logits.sigmoid().flatten(2), target.flatten(2)
    return 1 - (2 * (probability * flat).sum(-1) + 1) / (probability.sum(-1) + flat.sum(-1) + 1)
