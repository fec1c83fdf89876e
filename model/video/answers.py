"""Between answers as a session keeps them and results as it gives them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from model.errors import MaskShapeError
from model.network.layers import resize
from model.video.frame_result import FrameResult, MaskTidying
from model.video.object_table import FrameOutput, LockedAnswer, TrackedObject
from storage.masks import Rle, decode, encode

__all__ = ["accepted", "checked_mask", "low_res_mask", "make_result", "unlocked"]

Answer = FrameOutput | LockedAnswer

_GIVEN_LOGIT = 10.0  # of a person's mask


def checked_mask(mask: NDArray[np.bool_] | Rle, *, height: int, width: int, where: str) -> Rle:
    """The run lengths of a mask bool [H, W]. MaskShapeError if it is of another type or not of that size."""
    expected = (height, width)
    if isinstance(mask, Rle):
        if (mask.height, mask.width) != expected:
            raise MaskShapeError(f"the mask of {where} has shape {(mask.height, mask.width)}, not {expected}")
        return mask
    if not isinstance(mask, np.ndarray) or mask.shape != expected or mask.dtype != np.bool_:
        found = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise MaskShapeError(f"the mask of {where} is {found}, not bool of shape {expected}")
    return encode(mask)


def accepted(mask: Rle, side: int, scores: tuple[float, float, float] | None = None) -> LockedAnswer:
    """A mask as a person accepts it, with the scores of a given mask if it is nobody's answer.

    `side` is that of the network's masks, at which an object too small for it keeps one pixel.
    """
    pixels = torch.from_numpy(decode(mask).astype(np.float32))[None, None]
    scaled = resize(pixels, side, antialias=True)[0, 0]
    strongest = (scaled == scaled.max()) & (scaled > 0)
    small = ((scaled >= 0.5) | strongest).numpy()
    seen = _GIVEN_LOGIT if small.any() else -_GIVEN_LOGIT
    return LockedAnswer(mask, encode(small), scores or (seen, 1.0, 1.0))


def unlocked(lock: LockedAnswer, device: torch.device) -> FrameOutput:
    """The answer that a lock stood for, found without the network: it has no object pointer."""
    return FrameOutput(
        torch.from_numpy(_logits(lock))[None, None].to(device), torch.empty(1, 0), *lock.scores
    )


def low_res_mask(answer: Answer) -> NDArray[np.bool_]:
    """The mask bool [h, w] of an answer at the size of the network's masks."""
    if isinstance(answer, LockedAnswer):
        return decode(answer.low_res)
    mask: NDArray[np.bool_] = (answer.low_res[0, 0] > 0).cpu().numpy()
    return mask


def make_result(
    frame: int,
    answers: Sequence[tuple[int, TrackedObject, Answer]],
    revisions: Sequence[int],
    *,
    size: tuple[int, int],
    side: int,
    tidying: MaskTidying,
) -> FrameResult:
    """Put the answers of N objects (id, object, answer) on a frame of `size` (height, width) together."""
    scores = np.array([answer.scores for *_, answer in answers], dtype=np.float32).reshape(-1, 3)
    low_res = np.empty((len(answers), side, side), dtype=np.float32)
    for row, (*_, answer) in enumerate(answers):
        low_res[row] = (
            _logits(answer)
            if isinstance(answer, LockedAnswer)
            else answer.low_res[0, 0].float().cpu().numpy()
        )
    return FrameResult(
        frame=frame,
        object_ids=tuple(object_id for object_id, *_ in answers),
        low_res=low_res,
        height=size[0],
        width=size[1],
        given=tuple(_given(item, frame, answer) for _, item, answer in answers),
        object_scores=scores[:, 0],
        predicted_ious=scores[:, 1],
        stabilities=scores[:, 2],
        locked=np.array([isinstance(answer, LockedAnswer) for *_, answer in answers], dtype=np.bool_),
        revisions=np.array(revisions, dtype=np.int32),
        tidying=tidying,
    )


def _given(item: TrackedObject, frame: int, answer: Answer) -> Rle | None:
    """The mask that a person gave, accepted or prompted."""
    if isinstance(answer, LockedAnswer):
        return answer.mask
    return item.prompts[frame].mask if frame in item.prompts else None


def _logits(lock: LockedAnswer) -> NDArray[np.float32]:
    """Logits [h, w] of a person's mask."""
    return np.where(decode(lock.low_res), np.float32(_GIVEN_LOGIT), np.float32(-_GIVEN_LOGIT))
