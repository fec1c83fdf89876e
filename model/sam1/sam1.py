"""SAM 1 as one pure module: preprocess, encode, answer prompts (SAM paper §3 and appendix A).

The prompt encoder and the mask decoder are SAM 2's, which took them over; here they run without the object score
and without skips. The picture keeps its aspect: its long side becomes S pixels and the rest of the S×S input is
zero. State-dict keys are those of the official checkpoints.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.mask_tensors import enlarge
from model.network.layers import resize
from model.network.mask_decoder import MaskDecoder, PromptAnswers
from model.network.prompt_encoder import PromptEncoder
from model.network.sam2 import Points
from model.sam1.config import Sam1Config, sam1_config
from model.sam1.vit import TwoLinear, VisionTransformer

__all__ = ["Sam1", "build_sam1"]

_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of pixels in 0…255
_FIRST_CORNER = 2  # label; corners of a box have labels 2 and 3


class Sam1(nn.Module):
    """The network: masks in one image from points, boxes and rough masks."""

    def __init__(self, config: Sam1Config) -> None:
        super().__init__()
        self.config = config
        self.image_size = config.image_size
        self.image_encoder = VisionTransformer(config)
        self.prompt_encoder = PromptEncoder(config.dim, config.image_size)
        self.mask_decoder = MaskDecoder(
            config.dim, config.decoder, has_object_score=False, uses_skips=False, sigmoid_iou=False
        )
        for layer in self.mask_decoder.transformer.layers:
            layer.mlp = TwoLinear(config.dim, config.decoder.feedforward, F.relu)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.image_encoder.pos_embed.device

    def content_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that an image of `height` × `width` pixels has within the input."""
        scale = self.image_size / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))

    def preprocess(self, rgb: Tensor) -> Tensor:
        """Return normalised images float32 [B, 3, S, S] of `rgb` uint8 [B, H, W, 3], zero right and below.

        Resized pixels are rounded to whole numbers, as in the published code, which resizes 8-bit pictures.
        """
        pixels = rgb.to(self.device).permute(0, 3, 1, 2).float()  # B 3 H W
        height, width = self.content_size(*pixels.shape[-2:])
        pixels = resize(pixels, (height, width), antialias=True).round()
        mean = pixels.new_tensor(_MEAN)[:, None, None]
        std = pixels.new_tensor(_STD)[:, None, None]
        return F.pad((pixels - mean) / std, (0, self.image_size - width, 0, self.image_size - height))

    def encode_images(self, images: Tensor) -> Tensor:
        """Return the embedding [B, C, S/16, S/16] of normalised `images` [B, 3, S, S]."""
        embedding: Tensor = self.image_encoder(images)
        return embedding

    def answer_prompts(
        self,
        embedding: Tensor,
        *,
        points: Points | None = None,
        mask_logits: Tensor | None = None,
        multimask: bool = True,
        min_iou: float = -math.inf,
    ) -> PromptAnswers:
        """Answer N prompts on the embedding [1, C, h, w] of one image.

        Points are coords [N, P, 2] in pixels of the input and labels [N, P]; the corners of a box (labels 2 and 3)
        come first and are given to all prompts or to none. `mask_logits` [N, 1, 4h, 4w] are an earlier answer.
        Prompts without a candidate of predicted IoU >= `min_iou` are left out. Object scores are +inf, since SAM 1
        does not judge presence.
        """
        height, width = embedding.shape[-2:]
        count = _count(points, mask_logits)
        encoder = self.prompt_encoder
        return self.mask_decoder.answer(
            embedding,
            encoder.dense_position(height, width),
            embedding.new_zeros(count, 0, self.config.dim) if points is None else self._tokens(*points),
            encoder.no_mask() if mask_logits is None else encoder.mask(mask_logits),
            None,
            multimask=multimask,
            min_iou=min_iou,
        )

    def _tokens(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Encode points as SAM 1 does: a box after the clicks, and a padding point only where there is no box."""
        boxed = bool((labels[:, 0] == _FIRST_CORNER).all())
        if boxed:
            coords, labels = coords.roll(-2, dims=1), labels.roll(-2, dims=1)
        return self.prompt_encoder.points(coords, labels, padding=not boxed)

    def to_image(self, low_res: Tensor, height: int, width: int) -> Tensor:
        """Return logits float32 [K, 1, height, width] in pixels of the image for `low_res` [K, 1, 4h, 4w]."""
        rows, columns = self.content_size(height, width)
        square = enlarge(low_res[:, 0], (self.image_size, self.image_size))
        return enlarge(square[:, :rows, :columns], (height, width))[:, None]


def _count(points: Points | None, mask_logits: Tensor | None) -> int:
    given = mask_logits if points is None else points[0]
    return 1 if given is None else given.shape[0]


def build_sam1(size: str = "vit_b", *, image_size: int | None = None) -> Sam1:
    """Return an untrained network: "vit_b", "vit_l" or "vit_h". Raises ModelError for another size.

    >>> from model.sam1.sam1 import build_sam1
    >>> with torch.device("meta"):  # no memory is taken
    ...     build_sam1("vit_h").config.depth
    32
    """
    return Sam1(sam1_config(size, image_size=image_size))
