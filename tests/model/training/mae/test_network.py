"""The autoencoder's way through the trunk: what is hidden is not seen, what is seen is computed as in SAM 2."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from model.config import Sam2Config, sam2_config
from model.errors import TrainingError
from model.training.mae.config import MaeConfig
from model.training.mae.masking import hidden, normalised_patches, spread_units
from model.training.mae.network import MaskedAutoencoder

SMALL = MaeConfig(decoder_width=16, decoder_depth=1, decoder_heads=2)


@pytest.fixture(scope="module")
def nano() -> MaskedAutoencoder:
    return build(sam2_config("nano", image_size=96))


def build(network: Sam2Config, config: MaeConfig = SMALL) -> MaskedAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MaskedAutoencoder(network, config)
        for name in ("pos_embed", "pos_embed_window"):
            nn.init.normal_(model.trunk.get_parameter(name), std=0.1)
        return model.eval()


def pictures(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_tiny_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = MaskedAutoencoder(sam2_config("tiny", image_size=224), MaeConfig())
    flat, ours = 56 * 56 * 96, (7 * 7 + 8 * 8) * 96  # theirs learns a position a token
    assert sum(p.numel() for p in model.parameters()) + flat - ours == 55_020_896


def test_shapes(nano: MaskedAutoencoder) -> None:
    visible = torch.tensor([[0, 4, 8], [1, 2, 3]])
    stages = nano.stages(pictures(2, 96), visible)
    assert [tuple(x.shape) for x in stages] == [(6, 8, 8, 32), (6, 4, 4, 64), (6, 2, 2, 128), (6, 2, 2, 256)]
    assert nano.encode(pictures(2, 96), visible).shape == (2, 3, 2, 2, 256)
    assert nano(pictures(2, 96), visible).shape == (2, 6, 6, 768)


def test_the_first_two_stages_are_the_trunks_own(nano: MaskedAutoencoder) -> None:
    x = pictures(1, 96)
    everything = torch.arange(9)[None]
    for ours, whole in list(zip(nano.stages(x, everything), nano.trunk(x), strict=True))[:2]:
        side = ours.shape[1]
        units = whole[0].unfold(1, side, side).unfold(2, side, side)  # C 3 3 s s
        assert torch.allclose(ours, units.permute(1, 2, 3, 4, 0).flatten(0, 1), atol=1e-5)


def test_hidden_units_are_not_seen(nano: MaskedAutoencoder) -> None:
    visible = torch.tensor([[0, 5]])
    x = pictures(1, 96)
    other = x.clone()
    unseen = spread_units(hidden(visible, 9), 3, 32)[:, None].expand_as(x)
    other[unseen] += 10.0
    assert torch.equal(nano.encode(x, visible), nano.encode(other, visible))
    assert not torch.equal(nano.encode(x, visible), nano.encode(x + (~unseen), visible))


def test_pictures_of_a_batch_do_not_see_each_other(nano: MaskedAutoencoder) -> None:
    x = pictures(2, 96)
    visible = torch.tensor([[0, 4], [2, 7]])
    both = nano(x, visible)
    assert torch.allclose(both[1:], nano(x[1:], visible[1:]), atol=1e-5)


def test_visible_tokens_return_to_their_places(nano: MaskedAutoencoder) -> None:
    """A decoder that hands its input on shows a picture's units where they were."""
    decoder = nano.decoder
    seen: list[torch.Tensor] = []
    handle = decoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    features = torch.arange(8.0).reshape(1, 2, 2, 2, 1).expand(-1, -1, -1, -1, 256)
    decoder(features, torch.tensor([[1, 6]]), 3)
    handle.remove()
    grid = seen[0] - decoder.position
    embedded = decoder.embed(features)
    assert torch.allclose(grid[0, 0:2, 2:4], embedded[0, 0], atol=1e-6)  # unit 1: first row, second column
    assert torch.allclose(grid[0, 4:6, 0:2], embedded[0, 1], atol=1e-6)  # unit 6: last row, first column
    assert torch.allclose(grid[0, 0, 0], decoder.mask_token, atol=1e-6)


def test_only_hidden_patches_count(nano: MaskedAutoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
    x = pictures(1, 96)
    visible = torch.tensor(
        [[0, 1, 2, 3, 4, 5, 6, 7]]
    )  # the last unit, patches 4 and 5 of both axes, is hidden
    guess = normalised_patches(x)
    guess[:, :4] += 100.0
    guess[:, 4:, 4:] += 0.5
    monkeypatch.setattr(nano, "forward", lambda pixels, seen: guess)
    assert float(nano.loss(x, visible)) == pytest.approx(0.25, rel=1e-4)


def test_drop_path_drops_whole_pictures() -> None:
    network = sam2_config("nano", image_size=96)
    model = build(replace(network, trunk=replace(network.trunk, drop_path=0.5))).train()
    block = model.trunk.blocks[1]  # drops one in twelve
    block.get_submodule("drop_path").rate = 0.5
    visible = torch.arange(4).expand(8, 4)
    dropped = []
    handle = block.get_submodule("drop_path").register_forward_hook(
        lambda _, inputs, output: dropped.append((inputs[0].shape[0], output.flatten(1).abs().sum(1) == 0))
    )
    torch.manual_seed(3)
    model.stages(pictures(8, 96), visible)
    handle.remove()
    assert [count for count, _ in dropped] == [8, 8]
    assert 0 < sum(int(rows.sum()) for _, rows in dropped) < 16


@pytest.mark.parametrize("size", [64, 224, 256])
def test_units_fill_pictures_of_these_sides(size: int) -> None:
    assert build(sam2_config("nano", image_size=size)).unit_count == (size // 32) ** 2


@pytest.mark.parametrize(("size", "window"), [(96, 16), (32, 8)])
def test_units_that_do_not_fill_the_picture_or_fill_it_alone_are_refused(size: int, window: int) -> None:
    network = sam2_config("nano", image_size=size)
    wide = replace(network, trunk=replace(network.trunk, windows=(window, 4, 8, 4)))
    with pytest.raises(TrainingError, match=f"image_size {size} must be two or more times a mask unit's"):
        MaskedAutoencoder(wide, SMALL)
