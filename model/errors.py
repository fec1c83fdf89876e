"""Errors of the model package, as one tree; every message says what is wrong, where, and what to do.

ModelError                  about the network, its weights or its input
├── CheckpointError         a weights file is missing, damaged or does not fit
├── TrainingError           training cannot start or cannot go on
│   ├── LeakError           a clip of an evaluation group is about to be trained on
│   └── ClipError           a training clip cannot be read; another one is drawn
└── PromptError             a prompt or a request about an object or a frame cannot be used
    ├── CoordinateError     a click or box is not finite, in the wrong order, or outside the picture
    ├── EmptyVideoError     a video without a frame
    ├── FrameRangeError     a frame, or a bound, outside the video (or no longer kept by a stream)
    ├── FrameShapeError     a picture of the wrong type or size
    ├── LockedFrameError    a frame that a person has accepted is to be changed
    ├── MaskShapeError      a mask of the wrong type or size
    ├── NotPromptedError    tracking needs a prompt (or an answer) that is not there
    └── UnknownObjectError  an object that the session does not know, or a name that is taken
"""

from __future__ import annotations

from storage.errors import EngineError

__all__ = [
    "CheckpointError",
    "ClipError",
    "CoordinateError",
    "EmptyVideoError",
    "FrameRangeError",
    "FrameShapeError",
    "LeakError",
    "LockedFrameError",
    "MaskShapeError",
    "ModelError",
    "NotPromptedError",
    "PromptError",
    "TrainingError",
    "UnknownObjectError",
]


class ModelError(EngineError):
    """Something about the network, its weights or its input is wrong; the message says what and where."""


class CheckpointError(ModelError):
    """A weights file is missing, damaged or does not fit the network."""


class TrainingError(ModelError):
    """Training cannot start or cannot go on."""


class LeakError(TrainingError):
    """A clip of a group that is kept for evaluation is about to be trained on."""


class ClipError(TrainingError):
    """A training clip cannot be read; another one is drawn in its place."""


class PromptError(ModelError):
    """A prompt (click, box, mask) or a request about an object or a frame cannot be used."""


class CoordinateError(PromptError):
    """A click or a box is not finite, has its corners in the wrong order, or lies outside the picture."""


class EmptyVideoError(PromptError):
    """A video has no frame."""


class FrameRangeError(PromptError):
    """A frame or a bound lies outside the video, or a stream no longer keeps the frame."""


class FrameShapeError(PromptError):
    """A picture is not uint8 [H, W, 3], or not of the size of its video."""


class LockedFrameError(PromptError):
    """A frame that a person accepted for an object would be changed; unlock it first."""


class MaskShapeError(PromptError):
    """A mask is not bool [H, W] of the size of its frame."""


class NotPromptedError(PromptError):
    """There is nothing to track from: no object, an object without prompt, or a frame without answer."""


class UnknownObjectError(PromptError):
    """An object is unknown to the session, or a new name is already taken."""
