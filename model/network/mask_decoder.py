"""The mask decoder: prompt tokens and embedding talk to each other, then tokens become masks and scores.

Scores come from the tokens alone, masks need the upscaled embedding, which is the larger part of the work.
So the decoder reads prompts first and draws masks afterwards, only those that are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import DecoderConfig
from model.network.layers import LayerNorm2d, Mlp
from model.network.two_way import TwoWayTransformer

__all__ = ["ABSENT_LOGIT", "DecoderOutput", "MaskDecoder", "PromptAnswers"]

ABSENT_LOGIT = -1024.0  # every mask logit of an object that is judged absent
# on a CPU, what is worked on at a time should fit into its caches: the pixels of a few prompts, and when
# drawing masks a few of their pixels
_CHUNK_BYTES = 8 * 2**20
_BLOCK_BYTES = 2 * 2**20


@dataclass(frozen=True, slots=True)
class DecoderOutput:
    """The candidates that were asked for: M is 3 (ambiguous prompts) or 1."""

    masks: Tensor  # logits [N, M, 4h, 4w]
    ious: Tensor  # predicted IoU [N, M]
    tokens: Tensor  # mask tokens [N, M, C]; of the single mask also where a candidate replaced it
    object_score: Tensor  # logit that the object is visible [N, 1]; +inf where the network does not judge it


@dataclass(frozen=True, slots=True)
class PromptAnswers:
    """Answers to those K of N prompts that have a candidate of sufficient predicted IoU."""

    rows: Tensor  # int64 [K], which prompts these are, ascending
    low_res: Tensor  # logits float32 [K, M, 4h, 4w]; M is 3 with multimask, else 1
    ious: Tensor  # predicted IoU of every candidate [K, M]
    object_scores: Tensor  # logit that there is an object [K]; +inf where the network does not judge it


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the transformer made of some prompts; candidate 0 is the single mask."""

    pixels: Tensor  # [N, hw, C]
    skips: tuple[Tensor, ...]  # [N or 1, hw, 4, C/4] and [N or 1, hw, 16, C/8], or none
    grid: tuple[int, int]  # h, w
    tokens: Tensor  # mask tokens [N, 1+M, C]
    ious: Tensor  # [N, 1+M]
    object_score: Tensor  # [N, 1]

    def select(self, rows: Tensor) -> _Reading:
        if rows.shape[0] == self.ious.shape[0]:
            return self
        return _Reading(
            pixels=self.pixels[rows],
            skips=tuple(skip if skip.shape[0] == 1 else skip[rows] for skip in self.skips),
            grid=self.grid,
            tokens=self.tokens[rows],
            ious=self.ious[rows],
            object_score=self.object_score[rows],
        )


class MaskDecoder(nn.Module):
    """Two-way transformer, learned upscaling with skips, and one small MLP for each output.

    The switches are for SAM 1, which does not judge presence, has no skips and predicts IoUs unbounded.
    """

    def __init__(
        self,
        dim: int,
        config: DecoderConfig,
        *,
        has_object_score: bool = True,
        uses_skips: bool = True,
        sigmoid_iou: bool = True,
    ) -> None:
        super().__init__()
        self.config = config
        self.has_object_score = has_object_score
        self.sigmoid_iou = sigmoid_iou
        count = config.candidates + 1
        self.transformer = TwoWayTransformer(dim, config)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(count, dim)
        self.obj_score_token = nn.Embedding(1, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.conv_s0 = nn.Conv2d(dim, dim // 8, kernel_size=1)
        self.conv_s1 = nn.Conv2d(dim, dim // 4, kernel_size=1)
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp((dim, dim, dim, dim // 8)) for _ in range(count))
        self.iou_prediction_head = Mlp((dim, dim, dim, count))
        self.pred_obj_score_head = Mlp((dim, dim, dim, 1))
        if not has_object_score:
            del self.obj_score_token, self.pred_obj_score_head
        if not uses_skips:
            del self.conv_s0, self.conv_s1

    def forward(
        self,
        embedding: Tensor,
        position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: tuple[Tensor, Tensor] | None,
        *,
        multimask: bool,
    ) -> DecoderOutput:
        """Decode N prompts.

        embedding [N or 1, C, h, w]; position [1, C, h, w]; sparse prompt tokens [N, P, C]; dense prompt
        [N or 1, C, h or 1, w or 1]; high_res = skips ([N or 1, C/8, 4h, 4w], [N or 1, C/4, 2h, 2w]), None
        without skips. A batch of 1 stands for all prompts and is not copied. `multimask` asks for the
        candidates of an ambiguous prompt instead of the single mask.
        """
        readings = self._read(embedding, position, sparse, dense, high_res)
        parts = [self._decide(reading, multimask=multimask) for reading in readings]
        return parts[0] if len(parts) == 1 else DecoderOutput(*_join(parts))

    def answer(
        self,
        embedding: Tensor,
        position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: tuple[Tensor, Tensor] | None,
        *,
        multimask: bool,
        min_iou: float = -math.inf,
    ) -> PromptAnswers:
        """Decode N prompts as `forward` does and keep those with a predicted IoU of at least `min_iou`.

        The masks of the others are not drawn.
        """
        parts, first = [], 0
        for reading in self._read(embedding, position, sparse, dense, high_res):
            rows = (self._eligible(reading.ious, multimask) >= min_iou).any(dim=1).nonzero()[:, 0]
            output = self._decide(reading.select(rows), multimask=multimask)
            parts.append(_answers(rows + first, output, min_iou))
            first += reading.ious.shape[0]
        return PromptAnswers(*_join(parts))

    def single_token(
        self, embedding: Tensor, position: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the single mask's token [N, C] and the object score [N, 1] without drawing the mask."""
        readings = list(self._read(embedding, position, sparse, dense, None))
        tokens = torch.cat([reading.tokens[:, 0] for reading in readings])
        return tokens, torch.cat([reading.object_score for reading in readings])

    def _read(
        self,
        embedding: Tensor,
        position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: tuple[Tensor, Tensor] | None,
    ) -> Iterator[_Reading]:
        """Run the transformer, on a CPU for a few prompts at a time."""
        height, width = embedding.shape[-2:]
        source, place = _by_pixel(embedding + dense), _by_pixel(position)
        tokens = torch.cat((self._output_tokens(sparse.shape[0]), sparse), dim=1)  # N L C
        skips = () if high_res is None else _arrange(high_res, height, width)
        shared = self.transformer.project(source, place, tokens=tokens.shape[0] * tokens.shape[1])
        step = _chunk(source, tokens.shape[0])
        for first in range(0, max(1, tokens.shape[0]), step):
            rows = slice(first, first + step)
            read, pixels = self.transformer(tokens[rows], _rows(source, rows), place, shared)
            yield self._scores(read, pixels, tuple(_rows(skip, rows) for skip in skips), (height, width))

    def _output_tokens(self, count: int) -> Tensor:
        """Return [count, 1 or 2 + candidates + 1, C]: object score (if judged), IoU, masks."""
        scores = (self.obj_score_token.weight,) if self.has_object_score else ()
        return torch.cat((*scores, self.iou_token.weight, self.mask_tokens.weight))[None].expand(
            count, -1, -1
        )

    def _scores(
        self, tokens: Tensor, pixels: Tensor, skips: tuple[Tensor, ...], grid: tuple[int, int]
    ) -> _Reading:
        object_score = tokens.new_full((tokens.shape[0], 1), math.inf)
        if self.has_object_score:
            object_score, tokens = self.pred_obj_score_head(tokens[:, 0]), tokens[:, 1:]
        ious = self.iou_prediction_head(tokens[:, 0])
        return _Reading(
            pixels=pixels,
            skips=skips,
            grid=grid,
            tokens=tokens[:, 1 : 1 + self.mask_tokens.num_embeddings],
            ious=ious.sigmoid() if self.sigmoid_iou else ious,
            object_score=object_score,
        )

    def _eligible(self, ious: Tensor, multimask: bool) -> Tensor:
        """Those of the IoUs [N, 1+M] that an answer may come with."""
        if multimask:
            return ious[:, 1:]
        return ious if self._replaces_unstable else ious[:, :1]

    @property
    def _replaces_unstable(self) -> bool:
        return self.config.dynamic_multimask and not self.training

    def _decide(self, reading: _Reading, *, multimask: bool) -> DecoderOutput:
        """Draw the candidates that are asked for."""
        if not multimask and self._replaces_unstable:
            return self._stable(reading)
        asked = slice(1, None) if multimask else slice(0, 1)
        masks = self._draw(reading, self._brushes(reading.tokens, asked))
        return DecoderOutput(masks, reading.ious[:, asked], reading.tokens[:, asked], reading.object_score)

    def _stable(self, reading: _Reading) -> DecoderOutput:
        """The single mask, or the best candidate for prompts whose single mask is unstable."""
        rows = torch.arange(reading.ious.shape[0], device=reading.ious.device)
        best = reading.ious[:, 1:].argmax(dim=1) + 1
        brushes = self._brushes(reading.tokens, slice(None))
        masks = self._draw(reading, torch.stack((brushes[:, 0], brushes[rows, best]), dim=1))  # N 2 4h 4w
        delta = self.config.stability_delta
        inside = (masks[:, 0] > delta).flatten(1).sum(1).float()
        outside = (masks[:, 0] > -delta).flatten(1).sum(1).float()
        stability = torch.where(outside > 0, inside / outside.clamp(min=1), 1.0)
        unstable = stability < self.config.stability_threshold
        chosen = torch.where(unstable, best, 0)
        return DecoderOutput(
            masks=masks[rows, unstable.long()][:, None],
            ious=reading.ious[rows, chosen][:, None],
            tokens=reading.tokens[:, :1],
            object_score=reading.object_score,
        )

    def _brushes(self, tokens: Tensor, asked: slice) -> Tensor:
        """Return the weights [N, M, C/8] with which the asked candidates add up upscaled channels."""
        networks = list(self.output_hypernetworks_mlps)[asked]
        pairs = zip(networks, tokens[:, asked].unbind(1), strict=True)
        return torch.stack([network(token) for network, token in pairs], dim=1)

    def _draw(self, reading: _Reading, brushes: Tensor) -> Tensor:
        """Return mask logits [N, M, 4h, 4w] for brushes [N, M, C/8]."""
        pixels, skips = reading.pixels, reading.skips
        step = _block(pixels)
        blocks = [
            brushes @ self._upscale(pixels[:, i : i + step], *(s[:, i : i + step] for s in skips))
            for i in range(0, pixels.shape[1], step)
        ]
        masks = torch.unflatten(torch.cat(blocks, dim=2), 2, (*reading.grid, 2, 2, 2, 2))
        return masks.permute(0, 1, 2, 4, 6, 3, 5, 7).flatten(5, 7).flatten(2, 4)  # N M 4h 4w

    def _upscale(self, pixels: Tensor, skip: Tensor | None = None, last_skip: Tensor | None = None) -> Tensor:
        """Return [N, C/8, P·16] for P pixels [N, P, C]; skips [N or 1, P, 4, C/4] and [N or 1, P, 16, C/8]."""
        first, norm, _, second, _ = self.output_upscaling
        y = _transposed(pixels, cast(nn.ConvTranspose2d, first))  # N P 4 C/4
        y = F.gelu(_norm_channels(y if skip is None else y.add_(skip), cast(LayerNorm2d, norm)))
        y = _transposed(y, cast(nn.ConvTranspose2d, second)).flatten(2, 3)  # N P 16 C/8
        y = F.gelu(y if last_skip is None else y.add_(last_skip))
        return y.flatten(1, 2).transpose(1, 2)


def _transposed(x: Tensor, convolution: nn.ConvTranspose2d) -> Tensor:
    """A transposed convolution of kernel and stride 2: four outputs [..., 4, C'] for every pixel [..., C]."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)  # 4·C' C
    return torch.unflatten(F.linear(x, weight, convolution.get_parameter("bias").repeat(4)), -1, (4, -1))


def _norm_channels(x: Tensor, norm: LayerNorm2d) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)


def _arrange(high_res: tuple[Tensor, Tensor], height: int, width: int) -> tuple[Tensor, Tensor]:
    """Put each pixel's part of the skips together: [B, hw, 4, C/4] and [B, hw, 16, C/8], as drawing uses them."""
    fine, middle = high_res
    middle = torch.unflatten(torch.unflatten(middle, 3, (width, 2)), 2, (height, 2))  # B C/4 h 2 w 2
    fine = torch.unflatten(torch.unflatten(fine, 3, (width, 2, 2)), 2, (height, 2, 2))  # B C/8 h 2 2 w 2 2
    return (
        middle.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2),
        fine.permute(0, 2, 5, 3, 6, 4, 7, 1).flatten(3, 6).flatten(1, 2),
    )


def _by_pixel(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2).contiguous()  # B hw C


def _rows(x: Tensor, rows: slice) -> Tensor:
    """Rows of a batch; a batch of 1 stands for all."""
    return x if x.shape[0] == 1 else x[rows]


def _chunk(pixels: Tensor, count: int) -> int:
    """How many of `count` prompts to work on together, for pixels [N or 1, hw, C]."""
    if pixels.device.type != "cpu":
        return max(1, count)
    return max(1, _CHUNK_BYTES // (4 * pixels[0].numel()))


def _block(pixels: Tensor) -> int:
    """How many of the pixels [N, hw, C] to upscale together, to 2·C numbers each."""
    count, length, channels = pixels.shape
    if pixels.device.type != "cpu":
        return length
    return max(1, _BLOCK_BYTES // max(1, 8 * count * channels))


def _answers(rows: Tensor, output: DecoderOutput, min_iou: float) -> PromptAnswers:
    kept = (output.ious >= min_iou).any(dim=1)  # a candidate that replaced the single mask may fall short
    present = (output.object_score > 0)[..., None, None]
    masks = torch.where(present, output.masks, ABSENT_LOGIT).float()
    if bool(kept.all()):
        return PromptAnswers(rows, masks, output.ious, output.object_score[:, 0])
    return PromptAnswers(rows[kept], masks[kept], output.ious[kept], output.object_score[kept, 0])


def _join(parts: Sequence[DecoderOutput] | Sequence[PromptAnswers]) -> Iterator[Tensor]:
    """The parts' fields, each one put together along the batch."""
    for field in fields(parts[0]):
        yield torch.cat([getattr(part, field.name) for part in parts])
