"""SAM 2 as one pure module: weights and arithmetic, no frames, prompts or memory of its own.

The parts in reading order: `encode_images` (once per frame), `condition` (look at memory), `sam_heads`
(prompts → masks, scores and object pointer), `encode_memory` (mask → memory), and `track_step`, which
strings them together for one frame. Frames are a batch dimension B, objects a batch dimension N;
`ImageFeatures.select` goes from one to the other. Images are [B, 3, S, S], coordinates are (x, y) in pixels
of the S×S input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.config import Sam2Config
from model.network.layers import Mlp, resize
from model.network.mask_decoder import ABSENT_LOGIT, DecoderOutput, MaskDecoder, PromptAnswers
from model.network.memory_attention import MemoryAttention
from model.network.memory_bank import FrameMemory, MemorySequence
from model.network.memory_encoder import MemoryEncoder
from model.network.neck import ImageEncoder
from model.network.position import TableCache, sine_2d
from model.network.prompt_encoder import NO_POINT, PromptEncoder

__all__ = [
    "ABSENT_LOGIT",
    "PIXEL_MEAN",
    "PIXEL_STD",
    "HeadsOutput",
    "ImageFeatures",
    "Points",
    "PromptAnswers",
    "Sam2",
    "StepOutput",
    "StepPrompt",
    "uses_multimask",
]

_MASK_SCALE, _MASK_BIAS = 20.0, -10.0
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Points = tuple[Tensor, Tensor]  # coords [N, P, 2] in input pixels, labels [N, P]: 0, 1, box corners 2 and 3


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What the image encoder says about B frames (or, after `select`, about the frames of N objects)."""

    embedding: Tensor  # [B, C, h, w], h = w = S/16
    embedding_pos: Tensor  # sine map [1, C, h, w]
    high_res: tuple[Tensor, Tensor]  # skips [B, C/8, 4h, 4w] and [B, C/4, 2h, 2w]

    def select(self, index: Tensor) -> ImageFeatures:
        """Pick or repeat frames: `index` int64 [N] into the batch; the result has batch N."""
        embedding, s0, s1 = (_pick(maps, index) for maps in (self.embedding, *self.high_res))
        return ImageFeatures(embedding, self.embedding_pos, (s0, s1))


@dataclass(frozen=True, slots=True)
class HeadsOutput:
    """Answer of the SAM heads for N objects; M is 3 with multimask, else 1. Masks are float32 logits."""

    low_res_multimasks: Tensor  # [N, M, 4h, 4w]
    ious: Tensor  # predicted IoU of every candidate [N, M]
    low_res: Tensor  # the candidate of best predicted IoU [N, 1, 4h, 4w]
    high_res: Tensor  # the same [N, 1, S, S]
    iou: Tensor  # its predicted IoU [N, 1]
    pointer: Tensor  # object pointer [N, C]
    object_score: Tensor  # logit that the object is visible [N, 1]

    @property
    def high_res_multimasks(self) -> Tensor:
        """All candidates at the size of the input [N, M, S, S], made on demand."""
        if self.low_res_multimasks.shape[1] == 1:
            return self.high_res
        return resize(self.low_res_multimasks, self.high_res.shape[-1])


@dataclass(frozen=True, slots=True)
class StepPrompt:
    """The prompt of one frame for N objects: nothing, points with earlier logits, or a mask."""

    points: Points | None = None
    mask_logits: Tensor | None = None  # the frame's previous answer [N, 1, 4h, 4w], refines points
    mask: Tensor | None = None  # 0/1 mask [N, 1, S, S], taken over as it is


@dataclass(frozen=True, slots=True)
class StepOutput:
    """Answer of `track_step`."""

    heads: HeadsOutput
    memory: FrameMemory | None
    conditioned: Tensor | None  # [N, C, h, w]; None for a mask prompt


def _pick(maps: Tensor, index: Tensor) -> Tensor:
    """Rows of [B, C, h, w] in the order in which they lie in memory: channels last if they were."""
    if not maps.is_contiguous(memory_format=torch.channels_last):
        return maps.index_select(0, index)
    return maps.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)


def _composing_pays(images: Tensor) -> bool:
    """Whether two 1×1 convolutions in a row are better multiplied into one: float32 on a CPU."""
    return (
        images.device.type == "cpu"
        and images.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def uses_multimask(points: Points | None) -> bool:
    """Whether the prompt is ambiguous: none or a single click. A box counts as two points."""
    return points is None or points[0].shape[1] <= 1


class Sam2(nn.Module):
    """The network. State-dict keys are those of the official checkpoints."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.config = config
        self.image_size = config.image_size
        self.dim = config.dim
        self.mem_dim = config.memory.dim
        self.image_encoder = ImageEncoder(config)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.memory_attention = MemoryAttention(config.dim, config.memory)
        self.memory_encoder = MemoryEncoder(config.dim, config.memory.dim)
        self.sam_prompt_encoder = PromptEncoder(config.dim, config.image_size)
        self.sam_mask_decoder = MaskDecoder(config.dim, config.decoder)
        self.obj_ptr_proj = Mlp((config.dim,) * 4)
        self.obj_ptr_tpos_proj = nn.Linear(config.dim, config.memory.dim) if config.has_pointer_time else None
        self._add_vectors(config)
        self._sine_maps: TableCache[Tensor] = TableCache()

    def _add_vectors(self, config: Sam2Config) -> None:
        self.maskmem_tpos_enc = _vector(config.memory.slots, 1, 1, config.memory.dim)
        self.no_mem_embed = _vector(1, 1, config.dim)
        # unused, but part of every official checkpoint; no gradient, so that no optimiser waits for one
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, config.dim), requires_grad=False)
        self.no_obj_ptr = _vector(1, config.dim)
        if config.has_absence_memory:
            self.no_obj_embed_spatial: nn.Parameter | None = _vector(1, config.memory.dim)
        else:
            self.register_parameter("no_obj_embed_spatial", None)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.maskmem_tpos_enc.device

    def preprocess(self, rgb: Tensor) -> Tensor:
        """Return normalised images float32 [B, 3, S, S] of `rgb` uint8 [B, H, W, 3] (aspect is not kept)."""
        planes = rgb.to(self.device).permute(0, 3, 1, 2).contiguous()  # B 3 H W, turned while they are bytes
        pixels = resize(planes.float(), self.image_size, antialias=True)
        mean = pixels.new_tensor(PIXEL_MEAN)[:, None, None]
        std = pixels.new_tensor(PIXEL_STD)[:, None, None]
        return pixels.div_(255).sub_(mean).div_(std)

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Encode normalised `images` [B, 3, S, S]; needed once per frame whatever the number of objects."""
        if not _composing_pays(images):
            return self.image_features(self.image_encoder(images))
        skips = self.sam_mask_decoder.conv_s0, self.sam_mask_decoder.conv_s1
        return self._image_features(*self.image_encoder.composed(images, skips))

    def image_features(self, maps: Sequence[Tensor]) -> ImageFeatures:
        """Return what later steps need of the image encoder's maps of strides 4, 8 and 16."""
        fine, middle, embedding = maps
        skips = self.sam_mask_decoder.conv_s0(fine), self.sam_mask_decoder.conv_s1(middle)
        return self._image_features(*skips, embedding)

    def _image_features(self, fine: Tensor, middle: Tensor, embedding: Tensor) -> ImageFeatures:
        height, width = embedding.shape[-2:]
        position = self.sine_map(self.dim, height, width).to(embedding.dtype)
        return ImageFeatures(embedding, position, (fine, middle))

    def sine_map(self, channels: int, height: int, width: int) -> Tensor:
        """Return the fixed position map [1, channels, height, width] in the weights' dtype, made once."""
        device, dtype = self.device, self.maskmem_tpos_enc.dtype

        def make() -> Tensor:
            return sine_2d(channels, height, width, device=device).to(dtype)

        return self._sine_maps.get((channels, height, width, device, dtype), make)

    def condition(
        self, features: ImageFeatures, memory: MemorySequence | None, owners: Tensor | None = None
    ) -> Tensor:
        """Return the embedding [N, C, h, w] after looking at `memory` of N objects (SAM 2 paper §4).

        Features of one frame (batch 1) serve all N objects: what depends on the frame only is computed once. So it
        is for B frames with `owners` int64 [N], the frame of each object. Without memory the result has the
        features' batch: their embedding + a learned vector.
        """
        if memory is None:
            return features.embedding + self.no_mem_embed.transpose(1, 2)[..., None]
        conditioned: Tensor = self.memory_attention(
            features.embedding, features.embedding_pos, memory, owners
        )
        return conditioned

    def sam_heads(
        self,
        conditioned: Tensor,
        high_res: tuple[Tensor, Tensor],
        *,
        points: Points | None = None,
        mask_logits: Tensor | None = None,
        multimask: bool,
    ) -> HeadsOutput:
        """Answer N prompts on `conditioned` [N or 1, C, h, w] with skips `high_res` (batch N or 1).

        Points have batch N. `mask_logits` [N, 1, 4h, 4w] (any other side is resized) is the previous answer. A
        batch of 1 stands for all prompts and is not copied. Where the object score is not positive, all mask
        logits become ABSENT_LOGIT (so masks get no gradient there).
        """
        prompt = self._prompt(conditioned, points, mask_logits)
        output: DecoderOutput = self.sam_mask_decoder(conditioned, *prompt, high_res, multimask=multimask)
        return self._choose(output)

    def answer_prompts(
        self,
        conditioned: Tensor,
        high_res: tuple[Tensor, Tensor],
        *,
        points: Points | None = None,
        mask_logits: Tensor | None = None,
        multimask: bool = True,
        min_iou: float = -math.inf,
    ) -> PromptAnswers:
        """Answer N prompts as `sam_heads` does, but only masks and scores, and only for promising prompts.

        Prompts without a candidate of predicted IoU >= `min_iou` are left out.
        """
        prompt = self._prompt(conditioned, points, mask_logits)
        return self.sam_mask_decoder.answer(
            conditioned, *prompt, high_res, multimask=multimask, min_iou=min_iou
        )

    def _prompt(
        self, conditioned: Tensor, points: Points | None, mask_logits: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the position map, the sparse and the dense prompt for the decoder."""
        height, width = conditioned.shape[-2:]
        prompts = self.sam_prompt_encoder
        if points is None:
            points = self._no_points(conditioned if mask_logits is None else mask_logits)
        dense = prompts.no_mask() if mask_logits is None else self._encode_mask(mask_logits, height)
        return prompts.dense_position(height, width), prompts.points(*points), dense

    def _no_points(self, like: Tensor) -> Points:
        count = like.shape[0]
        return like.new_zeros(count, 1, 2), torch.full((count, 1), NO_POINT, device=like.device)

    def _encode_mask(self, logits: Tensor, grid: int) -> Tensor:
        return self.sam_prompt_encoder.mask(resize(logits, 4 * grid, antialias=True))

    def _choose(self, output: DecoderOutput) -> HeadsOutput:
        """Blank absent objects, pick the best candidate and make its pointer."""
        present = output.object_score > 0  # N 1
        masks = torch.where(present[..., None, None], output.masks, ABSENT_LOGIT).float()
        best = output.ious.argmax(dim=1)
        rows = torch.arange(best.shape[0], device=best.device)
        low_res = masks[rows, best][:, None]
        return HeadsOutput(
            low_res_multimasks=masks,
            ious=output.ious,
            low_res=low_res,
            high_res=resize(low_res, self.image_size),
            iou=output.ious[rows, best][:, None],
            pointer=self._mix_pointer(self.obj_ptr_proj(output.tokens[rows, best]), present),
            object_score=output.object_score,
        )

    def _mix_pointer(self, pointer: Tensor, present: Tensor) -> Tensor:
        weight = present.to(pointer.dtype)
        return weight * pointer + (1 - weight) * self.no_obj_ptr

    def mask_as_output(self, features: ImageFeatures, mask: Tensor) -> HeadsOutput:
        """Take `mask` float [N, 1, S, S] of 0 and 1 as the answer; only its pointer is computed."""
        high_res = mask.float() * _MASK_SCALE + _MASK_BIAS
        low_res = resize(high_res, high_res.shape[-1] // 4, antialias=True)
        present = (mask > 0).flatten(1).any(dim=1)[:, None]  # N 1
        ious = torch.ones_like(present, dtype=torch.float32)
        return HeadsOutput(
            low_res_multimasks=low_res,
            ious=ious,
            low_res=low_res,
            high_res=high_res,
            iou=ious,
            pointer=self._mix_pointer(self._mask_pointer(features.embedding, mask), present),
            object_score=present.float() * _MASK_SCALE + _MASK_BIAS,
        )

    def _mask_pointer(self, embedding: Tensor, mask: Tensor) -> Tensor:
        """Return the pointer [N, C] that the heads give to a mask prompt; no mask is drawn for it."""
        prompt = self._prompt(embedding, None, self.mask_downsample(mask.to(embedding.dtype)))
        token, score = self.sam_mask_decoder.single_token(embedding, *prompt)
        return self._mix_pointer(self.obj_ptr_proj(token), score > 0)

    def encode_memory(
        self, features: ImageFeatures, high_res: Tensor, object_score: Tensor, *, binarize: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the memory map [N, Cm, h, w] and its sine position [1, Cm, h, w].

        `high_res` are mask logits [N, 1, S, S]; `binarize` cuts them at 0 (for frames a person prompted);
        `object_score` [N, 1] marks frames without the object (2.1).
        """
        mask = (high_res > 0).float() if binarize else high_res.float().sigmoid()
        mask = (mask * _MASK_SCALE + _MASK_BIAS).to(features.embedding.dtype)
        maskmem: Tensor = self.memory_encoder(features.embedding, mask)
        if self.no_obj_embed_spatial is not None:
            absent = (object_score <= 0).to(maskmem.dtype)[..., None, None]
            maskmem = maskmem + absent * self.no_obj_embed_spatial[..., None, None]
        height, width = maskmem.shape[-2:]
        return maskmem, self.sine_map(self.mem_dim, height, width).to(maskmem.dtype)

    def track_step(
        self,
        features: ImageFeatures,
        memory: MemorySequence | None,
        prompt: StepPrompt,
        *,
        remember: bool = True,
        binarize: bool = False,
    ) -> StepOutput:
        """Answer one frame for N objects: prompts and memory in, masks and (if `remember`) memory out."""
        if prompt.mask is not None:
            heads, conditioned = self.mask_as_output(features, prompt.mask), None
        else:
            conditioned = self.condition(features, memory)
            heads = self.sam_heads(
                conditioned,
                features.high_res,
                points=prompt.points,
                mask_logits=prompt.mask_logits,
                multimask=uses_multimask(prompt.points),
            )
        if not remember:
            return StepOutput(heads, None, conditioned)
        maskmem, _ = self.encode_memory(features, heads.high_res, heads.object_score, binarize=binarize)
        return StepOutput(heads, FrameMemory(maskmem, heads.pointer), conditioned)


def _vector(*shape: int) -> nn.Parameter:
    vector = nn.Parameter(torch.zeros(*shape))
    nn.init.trunc_normal_(vector, std=0.02)
    return vector
