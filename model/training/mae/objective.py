"""What pre-training optimises: pictures with most of their units hidden, and the trunk that comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.config import Sam2Config
from model.errors import TrainingError
from model.files.checkpoints import save_checkpoint
from model.network.hiera import Hiera
from model.network.sam2 import PIXEL_MEAN, PIXEL_STD, Sam2
from model.training.batch import SkippedClip
from model.training.mae.config import MaeConfig
from model.training.mae.masking import draw_visible
from model.training.mae.network import MaskedAutoencoder
from model.training.mae.pictures import Image, Pictures, random_crop
from model.training.mixture import ATTEMPTS, UNREADABLE
from model.training.objective import WHOLE, Losses, Share
from model.training.train_config import TrainConfig


@dataclass(frozen=True, slots=True)
class MaskedPictures:
    """`images` uint8 [B,S,S,3] RGB, `visible` int64 [B,K] indices of the units that may be seen, `names`.

    `skipped` are pictures that could not be read, in whose place others were drawn.
    """

    images: Tensor
    visible: Tensor
    names: tuple[str, ...]
    skipped: tuple[SkippedClip, ...] = ()


class MaeObjective:
    """Guessing hidden patches of pictures. A step has `clips_per_step` pictures."""

    def __init__(
        self, network: MaskedAutoencoder, pictures: Pictures, config: TrainConfig, mae: MaeConfig
    ) -> None:
        self._network = network
        self._pictures = pictures
        self._config = config
        self._mae = mae
        self._size, self._units = network.image_size, network.unit_count

    def __getstate__(self) -> dict[str, object]:
        """Without the network, which worker processes that draw pictures do not need."""
        return {**self.__dict__, "_network": None}

    @property
    def network(self) -> MaskedAutoencoder:
        """The autoencoder, trunk and decoder."""
        return self._network

    def draw(self, step: int, share: Share = WHOLE) -> MaskedPictures:
        """The share's pictures of a step, on the CPU."""
        numbers = range(share.index, self._config.clips_per_step, share.count)
        if not numbers:
            raise TrainingError(
                f"{self._config.clips_per_step} pictures a step cannot be shared by {share.count}; raise "
                "clips_per_step or lower accumulate or the number of processes."
            )
        skipped: list[SkippedClip] = []
        drawn = [self._draw_one(step, number, skipped) for number in numbers]
        images, visible, names = zip(*drawn, strict=True)
        return MaskedPictures(torch.from_numpy(np.stack(images)), torch.stack(visible), names, tuple(skipped))

    def losses(self, batch: MaskedPictures, step: int) -> Losses:
        """Mean squared error over hidden patches."""
        device = next(self._network.parameters()).device
        loss = self._network.loss(normalised(batch.images.to(device)), batch.visible.to(device))
        return Losses(loss, {"loss_pixels": loss})

    def weight(self, batch: MaskedPictures) -> float:
        """The number of pictures."""
        return float(len(batch.images))

    def describe(self, batch: MaskedPictures) -> str:
        """The names of the pictures."""
        return ", ".join(batch.names)

    def _draw_one(self, step: int, number: int, skipped: list[SkippedClip]) -> tuple[Image, Tensor, str]:
        """A crop, its visible units and the picture's name; what could not be read is added to `skipped`."""
        for attempt in range(ATTEMPTS):
            retry = [attempt] if attempt else []
            rng = np.random.default_rng([self._config.seed, step, 1 + number, *retry])
            index = int(rng.integers(len(self._pictures)))
            try:
                picture, name = self._pictures.picture(index, rng, size=self._size)
            except UNREADABLE as error:
                skipped.append(SkippedClip("pictures", index, str(error)))
                continue
            crop = random_crop(picture, rng, smallest=self._mae.smallest_crop, size=self._size)
            return crop, draw_visible(self._units, self._mae.mask_ratio, rng), name
        raise TrainingError(
            f"Step {step}: none of {ATTEMPTS} pictures could be read; the last one: {skipped[-1]}"
        )


def normalised(images: Tensor) -> Tensor:
    """Float [B,3,S,S] of uint8 [B,S,S,3], as the network's own images are normalised."""
    pixels = images.permute(0, 3, 1, 2).float() / 255.0
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    return (pixels - mean) / std


def save_trunk(
    trunk: Hiera, network: Sam2Config, path: Path, *, seed: int, metadata: Mapping[str, str]
) -> None:
    """Writes a fresh SAM 2 of `network` that has this trunk: a checkpoint that any recipe can start from."""
    model = fresh_model(network, seed)
    model.image_encoder.trunk.load_state_dict(trunk.state_dict())
    save_checkpoint(model, path, {**metadata, "trained": "image_encoder.trunk"})


def fresh_model(network: Sam2Config, seed: int) -> Sam2:
    """Random weights that depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Sam2(network).eval()
