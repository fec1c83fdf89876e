"""Devices, precision and compilation, as far as a machine without an accelerator can tell."""

from __future__ import annotations

import pytest
import torch

from model.errors import ModelError
from model.network.mask_decoder import DecoderOutput
from model.network.memory_bank import MemoryBank, assemble, plan_memory
from model.network.sam2 import Sam2, StepPrompt
from model.runtime import _copy, compile_parts, inference, pick_device
from tests.model.conftest import MICRO, micro_network

CPU = torch.device("cpu")


def test_a_device_is_found() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device().type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["toaster", "xla", "cuda:9999", ""])
def test_absent_and_unknown_devices_are_named(name: str) -> None:
    with pytest.raises(ModelError, match=f"device '{name}'"):
        pick_device(name)


def test_inference_keeps_no_gradients_and_float32_on_a_cpu(micro_model: Sam2) -> None:
    image = torch.zeros(1, 3, 64, 64)
    with inference(CPU):
        features = micro_model.encode_images(image)
    assert features.embedding.is_inference() and features.embedding.dtype == torch.float32


def test_bfloat16_is_close_to_float32(micro_model: Sam2) -> None:
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with inference(CPU):
        exact = micro_model.encode_images(image).embedding
    with inference(CPU, "bfloat16"):
        low = micro_model.encode_images(image).embedding
    assert low.dtype == torch.bfloat16
    assert (low.float() - exact).std() < 0.05 * exact.std()


def test_a_named_precision_wins_over_the_one_around() -> None:
    matrix = torch.eye(4)
    with torch.autocast("cpu", torch.bfloat16), inference(CPU, "float32"):
        assert (matrix @ matrix).dtype == torch.float32


def test_impossible_precisions_are_refused() -> None:
    with pytest.raises(ModelError, match="MPS"), inference(torch.device("mps"), "bfloat16"):
        pass
    with pytest.raises(ModelError, match="float16"), inference(CPU, "float16"):  # type: ignore[arg-type]
        pass


@pytest.mark.slow
def test_a_compiled_network_says_the_same_and_keeps_its_keys(micro_model: Sam2) -> None:
    compiled = compile_parts(micro_network(MICRO), backend="eager")
    assert compiled.state_dict().keys() == micro_model.state_dict().keys()
    compiled.load_state_dict(micro_model.state_dict())
    for count in (2, 3):
        torch.testing.assert_close(_run(compiled, count), _run(micro_model, count))


def test_results_of_recorded_graphs_are_copied() -> None:
    reused = torch.zeros(2)
    pair = _copy((reused, [reused]))
    heads = _copy(DecoderOutput(reused, reused, reused, reused))
    reused += 1
    assert not pair[0].any() and not pair[1][0].any() and not heads.masks.any()


def _run(model: Sam2, count: int) -> torch.Tensor:
    """Click `count` objects, remember, and track them on the next frame."""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    coords = torch.tensor([[[20.0 + 5 * n, 30.0]] for n in range(count)])
    labels = torch.ones(count, 1, dtype=torch.long)
    with inference(CPU):
        features = model.encode_images(images)
        first, second = (features.select(torch.full((count,), t)) for t in (0, 1))
        start = model.track_step(first, None, StepPrompt(points=(coords, labels)))
        assert start.memory is not None
        plan = plan_memory([0], [], frame=1, frame_count=2, config=model.config.memory)
        memory = assemble(model, plan, MemoryBank({0: start.memory}, {}))
        return model.track_step(second, memory, StepPrompt()).heads.low_res.clone()
