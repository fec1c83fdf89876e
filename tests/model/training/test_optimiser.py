"""Which rate and decay each parameter gets, one step by hand, clipping, averages and going on."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import pytest
import torch
from torch import nn

from model.errors import TrainingError
from model.network.sam2 import Sam2
from model.training.optimiser import Optimiser, OptimiserConfig, layer_scale

FINE = OptimiserConfig(lr=5e-6, encoder_lr=3e-6, weight_decay=0.1, layer_decay=0.9, schedule="constant")


def groups_by_name(network: nn.Module, optimiser: Optimiser) -> dict[str, tuple[float, float]]:
    """Parameter name → (learning rate, weight decay)."""
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    return {name: found[id(p)] for name, p in network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("patch_embed.proj.weight", 0.9**5),  # id 0 of a trunk of 4 blocks
        ("blocks.0.attn.qkv.weight", 0.9**4),
        ("blocks.3.norm2.bias", 0.9),
        ("pos_embed", 1.0),
        ("pos_embed_window", 1.0),
    ],
)
def test_layers_near_the_pixels_learn_slower(name: str, scale: float) -> None:
    assert layer_scale(f"image_encoder.trunk.{name}", depth=4, decay=0.9) == pytest.approx(scale)


def test_neck_and_heads_learn_at_the_full_rate() -> None:
    for name in ("image_encoder.neck.convs.0.conv.weight", "memory_attention.layers.1.norm1.weight"):
        assert layer_scale(name, depth=4, decay=0.9) == 1.0


def test_rates_and_decays_by_parameter(micro: Sam2) -> None:
    optimiser = Optimiser(micro, FINE, steps=10)
    assert optimiser.set_rates(0) == 5e-6
    found = groups_by_name(micro, optimiser)
    trunk = "image_encoder.trunk."
    expected = {
        trunk + "pos_embed": (3e-6, 0.1),
        trunk + "patch_embed.proj.weight": (3e-6 * 0.9**5, 0.1),
        trunk + "patch_embed.proj.bias": (3e-6 * 0.9**5, 0.0),
        trunk + "blocks.2.norm1.weight": (3e-6 * 0.9**2, 0.0),
        trunk + "blocks.2.attn.qkv.weight": (3e-6 * 0.9**2, 0.1),
        "image_encoder.neck.convs.3.conv.weight": (3e-6, 0.1),
        "memory_attention.norm.weight": (5e-6, 0.0),
        "maskmem_tpos_enc": (5e-6, 0.1),
        "sam_mask_decoder.output_upscaling.1.weight": (5e-6, 0.1),  # LayerNorm2d is decayed, as published
        "sam_mask_decoder.output_upscaling.1.bias": (5e-6, 0.0),
    }
    assert {name: found[name] for name in expected} == {
        name: (pytest.approx(lr), decay) for name, (lr, decay) in expected.items()
    }


def test_every_parameter_is_in_one_group(micro: Sam2) -> None:
    parameters = [p for group in Optimiser(micro, FINE, steps=1).param_groups for p in group["params"]]
    trainable = [p for p in micro.parameters() if p.requires_grad]
    assert len(parameters) == len({id(p) for p in parameters}) == len(trainable)


def test_frozen_parameters_are_left_out(micro: Sam2) -> None:
    micro.image_encoder.requires_grad_(False)
    optimiser = Optimiser(micro, FINE, steps=1)
    frozen = {id(p) for p in micro.image_encoder.parameters()}
    assert not frozen & {id(p) for group in optimiser.param_groups for p in group["params"]}
    micro.requires_grad_(False)
    with pytest.raises(TrainingError, match="Nothing of the network is trainable"):
        Optimiser(micro, FINE, steps=1)


def scalars(**values: float) -> nn.Module:
    network = nn.Module()
    for name, value in values.items():
        network.register_parameter(name, nn.Parameter(torch.tensor([value])))
    return network


def pull(network: nn.Module, **gradients: float) -> None:
    for name, gradient in gradients.items():
        network.get_parameter(name).grad = torch.tensor([gradient])


def test_one_step_by_hand() -> None:
    network = scalars(weight=2.0, bias=2.0)
    config = OptimiserConfig(lr=0.1, weight_decay=0.5, schedule="constant", clip_norm=1.0)
    optimiser = Optimiser(network, config, steps=4)
    optimiser.set_rates(0)
    pull(network, weight=3.0, bias=4.0)
    assert optimiser.update() == pytest.approx(5.0)
    # AdamW's first step is lr · sign(gradient), clipped or not; decay takes lr · decay of the weight first
    assert float(network.get_parameter("weight").detach()) == pytest.approx(
        2.0 * (1 - 0.1 * 0.5) - 0.1, abs=1e-6
    )
    assert float(network.get_parameter("bias").detach()) == pytest.approx(2.0 - 0.1, abs=1e-6)
    assert network.get_parameter("weight").grad is None


def test_the_second_step_shows_that_gradients_were_clipped() -> None:
    network = scalars(weight=0.0)
    config = OptimiserConfig(lr=1.0, weight_decay=0.0, schedule="constant", clip_norm=1.0, betas=(0.0, 0.5))
    optimiser = Optimiser(network, config, steps=2)
    moved = []
    for gradient in (4.0, 1.0):  # clipped: 1, 1; else the second step would be 1 / √((0.25·16 + 0.5) / 0.75)
        pull(network, weight=gradient)
        optimiser.update()
        moved.append(float(network.get_parameter("weight").detach()))
    assert moved == pytest.approx([-1.0, -2.0], abs=1e-5)


def test_no_limit_leaves_gradients_as_they_are() -> None:
    network = scalars(weight=0.0)
    config = OptimiserConfig(lr=1.0, weight_decay=0.0, schedule="constant", clip_norm=0.0, betas=(0.0, 0.5))
    optimiser = Optimiser(network, config, steps=2)
    for gradient in (4.0, 1.0):
        pull(network, weight=gradient)
        assert optimiser.update() == gradient
    assert float(network.get_parameter("weight").detach()) == pytest.approx(
        -1.0 - 1 / sqrt((0.25 * 16 + 0.5) / 0.75), abs=1e-5
    )


def test_rates_follow_the_schedule_in_every_group(micro: Sam2) -> None:
    config = OptimiserConfig(lr=1.0, encoder_lr=0.5, warmup=3, schedule="constant", layer_decay=0.5)
    optimiser = Optimiser(micro, config, steps=10)
    whole = groups_by_name(micro, optimiser)
    assert optimiser.set_rates(1) == pytest.approx(0.5)
    half = groups_by_name(micro, optimiser)
    assert {name: lr for name, (lr, _) in half.items()} == {
        name: pytest.approx(0.5 * lr) for name, (lr, _) in whole.items()
    }


def test_the_average_follows_young_weights_and_then_slows_down() -> None:
    network = scalars(weight=0.0)
    optimiser = Optimiser(network, OptimiserConfig(lr=0.0, ema_decay=0.15), steps=3)
    averages = []
    for value in (10.0, 10.0, 0.0):
        with torch.no_grad():
            network.get_parameter("weight").fill_(value)
        pull(network, weight=0.0)
        optimiser.update()
        state = optimiser.ema_state()
        assert state is not None
        averages.append(float(state["weight"]))
    first = 0.9 * 10  # decay 1/10, then 0.15 < 2/11
    second = 0.15 * first + 0.85 * 10
    assert averages == pytest.approx([first, second, 0.15 * second])


def test_without_an_average_there_is_none(micro: Sam2) -> None:
    assert Optimiser(micro, FINE, steps=1).ema_state() is None


def test_the_average_is_a_state_dict_of_the_network(micro: Sam2) -> None:
    state = Optimiser(micro, OptimiserConfig(ema_decay=0.9), steps=1).ema_state()
    micro.load_state_dict(state or {})


def test_going_on_from_a_saved_state_changes_nothing(tmp_path: Any) -> None:
    config = OptimiserConfig(lr=0.1, ema_decay=0.9, warmup=2)

    def run(steps: range, network: nn.Module, optimiser: Optimiser) -> None:
        for step in steps:
            optimiser.set_rates(step)
            pull(network, weight=1.0 + step, bias=-0.5 * step)
            optimiser.update()

    def start() -> tuple[nn.Module, Optimiser]:
        network = scalars(weight=1.0, bias=2.0)
        return network, Optimiser(network, config, steps=6)

    whole, optimiser = start()
    run(range(6), whole, optimiser)
    cut, half = start()
    run(range(3), cut, half)
    torch.save({"network": cut.state_dict(), "optimiser": half.state_dict()}, tmp_path / "state.pt")
    resumed, rest = start()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(state["network"])
    rest.load_state_dict(state["optimiser"])
    run(range(3, 6), resumed, rest)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert optimiser.ema_state() == rest.ema_state()


@pytest.mark.parametrize("make", [lambda: OptimiserConfig(schedule="linear")])  # type: ignore[arg-type]
def test_an_unknown_schedule_is_refused(make: Callable[[], OptimiserConfig]) -> None:
    with pytest.raises(TrainingError, match="cosine, rsqrt, constant"):
        make()
