"""One way to ask any of the networks about a still image: encode it once, then ask with points and rough masks.

`ImageModel` is what the image predictor and the automatic mask generator are written against. How a picture is
fitted into the network's square input, and how an answer gets back to the pixels of the picture, is the business
of each network's implementation: SAM 2 stretches the picture, SAM 1 keeps its aspect and pads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import PromptError
from model.mask_tensors import enlarge
from model.network.mask_decoder import PromptAnswers
from model.network.sam2 import Points, Sam2
from model.pictures import picture_tensor
from model.sam1.sam1 import Sam1

__all__ = [
    "ImageEmbedding",
    "ImageModel",
    "Network",
    "Sam1Image",
    "Sam2Image",
    "image_model",
]

Network = Sam2 | Sam1


@dataclass(frozen=True, slots=True)
class ImageEmbedding:
    """What a network keeps of one image; any number of prompts can be asked of it."""

    embedding: Tensor  # [1, C, h, w], all that the mask decoder sees of the image but for the skips
    high_res: tuple[Tensor, Tensor] | None  # skips [1, C/8, 4h, 4w] and [1, C/4, 2h, 2w]; None for SAM 1
    height: int  # of the image, in pixels
    width: int


class ImageModel(Protocol):
    """A network as seen by whoever asks about still images."""

    @property
    def scores_objects(self) -> bool:
        """Whether the object scores of answers say anything; SAM 1's do not, they are +inf."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def embed_image(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode a picture uint8 [H, W, 3]. Raises PromptError for another type or shape."""

    def answer(
        self,
        image: ImageEmbedding,
        points: Points | None,
        mask_logits: Tensor | None,
        *,
        multimask: bool,
        min_iou: float = -torch.inf,
    ) -> PromptAnswers:
        """Answer N prompts: coords [N, P, 2] and labels [N, P] in input pixels, logits [N, 1, 4h, 4w], or both.

        The corners of a box are two points of labels 2 and 3 before all others. Prompts without a candidate of
        predicted IoU `min_iou` are left out of the answer.
        """

    def full_size(self, low_res: Tensor, image: ImageEmbedding) -> Tensor:
        """Return logits float32 [K, 1, H, W] in pixels of the image for `low_res` [K, 1, 4h, 4w]."""

    def to_input(self, coords: Tensor, image: ImageEmbedding) -> Tensor:
        """Return `coords` [..., 2] (x, y) in pixels of the image as float32 pixels of the network's input."""


def image_model(network: Network) -> ImageModel:
    """Return the still-image view of a network."""
    return Sam1Image(network) if isinstance(network, Sam1) else Sam2Image(network)


class Sam2Image:
    """SAM 2 without memory (SAM 2 paper, appendix D: an image is a video of one frame)."""

    scores_objects = True

    def __init__(self, network: Sam2) -> None:
        self._network = network

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._network.device

    def embed_image(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode a picture uint8 [H, W, 3], stretched to a square. Raises PromptError for another type or shape."""
        pixels = picture_tensor(rgb)
        features = self._network.encode_images(self._network.preprocess(pixels))
        embedding = self._network.condition(features, None)
        return ImageEmbedding(embedding, features.high_res, height=rgb.shape[0], width=rgb.shape[1])

    def answer(
        self,
        image: ImageEmbedding,
        points: Points | None,
        mask_logits: Tensor | None,
        *,
        multimask: bool,
        min_iou: float = -torch.inf,
    ) -> PromptAnswers:
        """Answer N prompts; see `ImageModel.answer`."""
        if image.high_res is None:
            raise PromptError("this image was encoded by a network of another kind")
        return self._network.answer_prompts(
            image.embedding,
            image.high_res,
            points=points,
            mask_logits=mask_logits,
            multimask=multimask,
            min_iou=min_iou,
        )

    def full_size(self, low_res: Tensor, image: ImageEmbedding) -> Tensor:
        """Return logits float32 [K, 1, H, W] for `low_res` [K, 1, 4h, 4w]."""
        return enlarge(low_res[:, 0], (image.height, image.width))[:, None]

    def to_input(self, coords: Tensor, image: ImageEmbedding) -> Tensor:
        """Return `coords` [..., 2] (x, y) of the image as pixels of the square input."""
        side = self._network.image_size
        return coords.float() * coords.new_tensor([side / image.width, side / image.height]).float()


class Sam1Image:
    """SAM 1: the picture keeps its aspect, the input is padded on the right and below."""

    scores_objects = False

    def __init__(self, network: Sam1) -> None:
        self._network = network

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._network.device

    def embed_image(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        """Encode a picture uint8 [H, W, 3]. Raises PromptError for another type or shape."""
        pixels = self._network.preprocess(picture_tensor(rgb))
        return ImageEmbedding(
            self._network.encode_images(pixels), None, height=rgb.shape[0], width=rgb.shape[1]
        )

    def answer(
        self,
        image: ImageEmbedding,
        points: Points | None,
        mask_logits: Tensor | None,
        *,
        multimask: bool,
        min_iou: float = -torch.inf,
    ) -> PromptAnswers:
        """Answer N prompts; see `ImageModel.answer`."""
        if image.high_res is not None:
            raise PromptError("this image was encoded by a network of another kind")
        return self._network.answer_prompts(
            image.embedding, points=points, mask_logits=mask_logits, multimask=multimask, min_iou=min_iou
        )

    def full_size(self, low_res: Tensor, image: ImageEmbedding) -> Tensor:
        """Return logits float32 [K, 1, H, W] for `low_res` [K, 1, 4h, 4w], the padding cut off."""
        return self._network.to_image(low_res, image.height, image.width)

    def to_input(self, coords: Tensor, image: ImageEmbedding) -> Tensor:
        """Return `coords` [..., 2] (x, y) of the image as pixels of the padded input."""
        height, width = self._network.content_size(image.height, image.width)
        return coords.float() * coords.new_tensor([width / image.width, height / image.height]).float()
