"""The mask decoder: prompt tokens and embedding talk to each other, then tokens become masks and scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import DecoderConfig
from model.layers import LayerNorm2d, Mlp
from model.two_way import TwoWayTransformer

__all__ = ["DecoderOutput", "MaskDecoder", "PromptAnswers"]


@dataclass(frozen=True, slots=True)
class DecoderOutput:
    """All candidates of one call; candidate 0 is the single mask, the others answer ambiguous prompts."""

    masks: Tensor  # logits [N, 1+M, 4h, 4w]
    ious: Tensor  # predicted IoU in 0…1 [N, 1+M]
    tokens: Tensor  # mask tokens [N, 1+M, C]
    object_score: Tensor  # logit that the object is visible [N, 1]


@dataclass(frozen=True, slots=True)
class PromptAnswers:
    """Answers to those K of N prompts that have a candidate of sufficient predicted IoU."""

    rows: Tensor  # int64 [K], which prompts these are, ascending
    low_res: Tensor  # logits float32 [K, M, 4h, 4w]; M is 3 with multimask, else 1
    ious: Tensor  # predicted IoU of every candidate [K, M]
    object_scores: Tensor  # logit that there is an object [K]


class MaskDecoder(nn.Module):
    """Two-way transformer, learned upscaling with skips, and one small MLP for each output."""

    def __init__(self, dim: int, config: DecoderConfig) -> None:
        super().__init__()
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

    def forward(
        self,
        embedding: Tensor,
        position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: tuple[Tensor, Tensor],
    ) -> DecoderOutput:
        """Decode N prompts.

        embedding [N or 1, C, h, w]; position [1, C, h, w]; sparse prompt tokens [N, P, C]; dense prompt
        [N or 1, C, h or 1, w or 1]; high_res = skips ([N or 1, C/8, 4h, 4w], [N or 1, C/4, 2h, 2w]).
        A batch of 1 stands for all prompts.
        """
        source = (embedding + dense).expand(sparse.shape[0], -1, -1, -1)
        tokens = torch.cat((self._output_tokens(sparse.shape[0]), sparse), dim=1)  # N L C
        tokens, pixels = self.transformer(tokens, source, position)
        mask_tokens = tokens[:, 2 : 2 + self.mask_tokens.num_embeddings]
        return DecoderOutput(
            masks=self._masks(mask_tokens, pixels, high_res),
            ious=self.iou_prediction_head(tokens[:, 1]).sigmoid(),
            tokens=mask_tokens,
            object_score=self.pred_obj_score_head(tokens[:, 0]),
        )

    def _output_tokens(self, count: int) -> Tensor:
        weights = (self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight)
        return torch.cat(weights)[None].expand(count, -1, -1)

    def _masks(self, mask_tokens: Tensor, pixels: Tensor, high_res: tuple[Tensor, Tensor]) -> Tensor:
        up1, norm, _, up2, _ = self.output_upscaling
        s0, s1 = high_res
        y = F.gelu(norm(up1(pixels) + s1))
        y = F.gelu(up2(y) + s0)  # N C/8 4h 4w
        heads = zip(self.output_hypernetworks_mlps, mask_tokens.unbind(1), strict=True)
        weights = torch.stack([head(token) for head, token in heads], dim=1)  # N M C/8
        return torch.unflatten(weights @ y.flatten(2), 2, y.shape[-2:])
