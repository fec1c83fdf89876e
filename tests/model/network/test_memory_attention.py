"""Memory attention: the streamed reader against the plain formula, objects that share an image, precisions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.config import MemoryConfig
from model.network import memory_attention, memory_reader
from model.network.memory_attention import MemoryAttention
from model.network.memory_bank import FrameMemory, MemoryBank, MemorySequence, assemble, plan_memory
from model.network.memory_reader import WholeReader
from model.network.position import RotaryTable, TableCache, rotary_table, rotate, rotate_
from model.network.sam2 import ImageFeatures, Sam2, StepPrompt

DIM, SIDE = 32, 6
CONFIG = MemoryConfig(dim=16, layers=2, feedforward=64, rope_theta=100.0)


def _network(config: MemoryConfig = CONFIG) -> MemoryAttention:
    torch.manual_seed(0)
    network = MemoryAttention(DIM, config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def _inputs(
    objects: int, *, maps: int = 3, pointers: int = 8, positions: int = 1, images: int = 1
) -> tuple[Tensor, Tensor, MemorySequence]:
    draw = torch.Generator().manual_seed(1)
    length = maps * SIDE * SIDE + pointers

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    memory = MemorySequence(
        2 * normal(objects, length, CONFIG.dim), normal(positions, length, CONFIG.dim), pointers
    )
    return normal(images, DIM, SIDE, SIDE), normal(1, DIM, SIDE, SIDE), memory


def _plain(network: MemoryAttention, embedding: Tensor, position: Tensor, memory: MemorySequence) -> Tensor:
    """The oracle: gradients are on, so that nothing is shared, streamed or overwritten."""
    repeated = embedding.expand(len(memory.tokens), -1, -1, -1).clone()
    return network(repeated, position, memory).detach()


@pytest.mark.parametrize("objects", [1, 3])
@pytest.mark.parametrize("pointers", [0, 8])
@pytest.mark.parametrize("positions", [1, 3])
@pytest.mark.parametrize(("tile", "keys"), [(2**20, 2048), (100, 80), (1000, 10), (5000, 40)])
def test_streaming_equals_the_plain_formula(
    objects: int, pointers: int, positions: int, tile: int, keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_reader, "_TILE", tile)
    monkeypatch.setattr(memory_reader, "_KEYS", keys)
    inputs = _inputs(objects, pointers=pointers, positions=min(positions, objects))
    network = _network()
    with torch.inference_mode():
        streamed = network(*inputs)
    assert streamed.shape == (objects, DIM, SIDE, SIDE)
    assert torch.allclose(streamed, _plain(network, *inputs), atol=2e-5, rtol=1e-5)


def test_streaming_survives_large_scores() -> None:
    embedding, position, memory = _inputs(1)
    loud = replace(memory, tokens=memory.tokens * 1000)
    network = _network()
    with torch.inference_mode():
        streamed = network(embedding, position, loud)
    plain = _plain(network, embedding, position, loud)
    assert torch.isfinite(streamed).all()
    assert torch.allclose(streamed, plain, atol=1e-3 * float(plain.abs().max()))


def test_inputs_are_not_overwritten() -> None:
    embedding, position, memory = _inputs(2)
    before = [t.clone() for t in (embedding, position, memory.tokens, memory.position)]
    with torch.inference_mode():
        _network()(embedding, position, memory)
    after = (embedding, position, memory.tokens, memory.position)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_one_image_serves_all_objects_with_gradients_too() -> None:
    embedding, position, memory = _inputs(3)
    network = _network()
    shared = embedding.clone().requires_grad_()
    network(shared, position, memory).square().sum().backward()
    repeated = embedding.expand(3, -1, -1, -1).clone().requires_grad_()
    network(repeated, position, memory).square().sum().backward()
    assert shared.grad is not None and repeated.grad is not None
    assert torch.allclose(shared.grad[0], repeated.grad.sum(0), rtol=1e-4, atol=1e-3)


def test_training_drops_out_without_gradients_too() -> None:
    inputs = _inputs(1)
    network = _network().train()
    with torch.no_grad():
        assert not torch.equal(network(*inputs), network(*inputs))


def test_several_heads_take_the_plain_way() -> None:
    inputs = _inputs(2)
    network = _network(replace(CONFIG, heads=2))
    with torch.inference_mode():
        assert torch.allclose(network(*inputs), _plain(network, *inputs), atol=1e-5)


def test_bfloat16_autocast_is_close() -> None:
    inputs = _inputs(2)
    network = _network()
    with torch.inference_mode():
        exact = network(*inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(*inputs)
    assert (rough.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_it_can_be_compiled() -> None:
    inputs = _inputs(2)
    network = _network()
    compiled = torch.compile(network, backend="eager")
    with torch.inference_mode():
        assert torch.allclose(compiled(*inputs), network(*inputs), atol=1e-5)


@pytest.mark.parametrize("maps", [1, 3])
def test_turning_in_place_is_bit_equal(maps: int) -> None:
    table = rotary_table(DIM, 5, 7, theta=100.0)
    assert table.turns is not None
    tokens = torch.randn(2, maps * 35, DIM, generator=torch.Generator().manual_seed(0))
    plain = rotate(tokens, table._replace(turns=None))
    assert torch.equal(rotate(tokens, table), plain)  # gradients are on
    with torch.no_grad():
        assert torch.equal(rotate(tokens, table), plain)
        wide = torch.cat((tokens, tokens), dim=1)
        rotate_(wide[:, : maps * 35], table.turns)
    assert torch.equal(wide[:, : maps * 35], plain)
    assert torch.equal(wide[:, maps * 35 :], tokens)


def test_turning_leaves_pointers_alone_and_turns_gradients_back() -> None:
    table = rotary_table(DIM, 2, 3, theta=100.0)
    tokens = torch.randn(2, 12 + 4, DIM, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(1))
    results = []
    for one in (table, table._replace(turns=None)):
        leaf = tokens.clone().requires_grad_()
        turned = rotate(leaf, one, unrotated=4)
        assert torch.equal(turned[:, 12:], tokens[:, 12:])
        (turned * weight).sum().backward()
        assert leaf.grad is not None
        results.append((turned.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], atol=1e-6)


@pytest.mark.parametrize(("training", "dropout"), [(False, 0.1), (True, 0.0), (True, 0.1)])
def test_objects_of_several_images_share_what_depends_on_their_image(training: bool, dropout: float) -> None:
    network = _network(replace(CONFIG, dropout=dropout)).train(training)
    embedding, position, memory = _inputs(3, images=2)
    owners = torch.tensor([1, 0, 1])
    results = []
    for images, index in ((embedding, owners), (embedding[owners], None)):
        torch.manual_seed(2)
        network.zero_grad()
        result = network(images, position, memory, index)
        result.square().sum().backward()
        results.append([result.detach(), *(p.grad for p in network.parameters())])
    for one, other in zip(*results, strict=True):
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()) + 1e-4)


def test_values_projected_last_give_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(memory: MemorySequence, table: RotaryTable, **_options: object) -> WholeReader:
        return WholeReader(memory, table)

    gradients = []
    for make in (memory_attention.memory_reader, whole):
        monkeypatch.setattr(memory_attention, "memory_reader", make)
        network, inputs = _network(), _inputs(2)
        result = network(*inputs)
        result.square().sum().backward()
        gradients.append([result.detach(), *(p.grad for p in network.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()) + 1e-4)


def test_tables_first_made_in_inference_serve_training() -> None:
    network = _network()
    inputs = _inputs(1)
    with torch.inference_mode():
        network(*inputs)
    network(*inputs).sum().backward()
    cache: TableCache[Tensor] = TableCache()
    with torch.inference_mode():
        table = cache.get("ones", lambda: torch.ones(2))
    assert not table.is_inference() and cache.get("ones", lambda: torch.zeros(2)) is table


def _features(model: Sam2) -> ImageFeatures:
    draw = torch.Generator().manual_seed(0)
    return model.encode_images(torch.randn(1, 3, model.image_size, model.image_size, generator=draw))


@torch.inference_mode()
def test_a_bank_in_bfloat16_serves_objects_that_share_features(micro_model: Sam2) -> None:
    features = _features(micro_model)
    draw = torch.Generator().manual_seed(1)
    memory = FrameMemory(
        torch.randn(3, 16, 4, 4, generator=draw).bfloat16(), torch.randn(3, 32, generator=draw)
    )
    plan = plan_memory([0], [], frame=1, frame_count=5, config=micro_model.config.memory)
    sequence = assemble(micro_model, plan, MemoryBank({0: memory}, {}))
    conditioned = micro_model.condition(features, sequence)
    repeated = features.select(torch.zeros(3, dtype=torch.long))
    assert torch.allclose(conditioned, micro_model.condition(repeated, sequence), atol=1e-5)

    shared = micro_model.track_step(features, sequence, StepPrompt())
    apart = micro_model.track_step(repeated, sequence, StepPrompt())
    assert shared.memory is not None and apart.memory is not None
    assert torch.allclose(shared.memory.maskmem, apart.memory.maskmem, atol=1e-4)
    assert torch.allclose(shared.heads.low_res, apart.heads.low_res, atol=1e-3)
