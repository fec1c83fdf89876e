"""Clicks, boxes and masks as tokens and maps."""

from __future__ import annotations

import torch
from torch import Tensor

from model.network.prompt_encoder import NO_POINT, PromptEncoder


def _encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return PromptEncoder(16, image_size=64)


def _plain_points(encoder: PromptEncoder, coords: Tensor, labels: Tensor) -> Tensor:
    """One point at a time, as the paper tells it."""
    embeddings = [e.get_parameter("weight")[0] for e in encoder.point_embeddings]
    rows = []
    for points, point_labels in zip(coords, labels.tolist(), strict=True):
        tokens = [
            encoder.pe_layer((point + 0.5) / 64) + embeddings[label]
            if label != NO_POINT
            else encoder.not_a_point_embed.weight[0]
            for point, label in zip(points, point_labels, strict=True)
        ]
        rows.append(torch.stack([*tokens, encoder.not_a_point_embed.weight[0]]))
    return torch.stack(rows)


def test_points_and_corners_are_told_apart() -> None:
    encoder = _encoder()
    coords = torch.tensor([[[3.0, 40.0], [50.0, 60.0], [0.0, 0.0]], [[1.0, 2.0], [30.0, 4.0], [5.0, 6.0]]])
    labels = torch.tensor([[2, 3, NO_POINT], [1, 0, 1]])
    tokens = encoder.points(coords, labels)
    torch.testing.assert_close(tokens, _plain_points(encoder, coords, labels))
    assert torch.equal(encoder.points(coords, labels, padding=False), tokens[:, :3])


def test_the_position_map_is_kept_until_the_matrix_changes() -> None:
    encoder = _encoder()
    first = encoder.dense_position(4, 6)
    assert encoder.dense_position(4, 6) is first
    assert encoder.dense_position(6, 4).shape == (1, 16, 6, 4)
    state = encoder.state_dict()
    state["pe_layer.positional_encoding_gaussian_matrix"] = torch.ones(2, 8)
    encoder.load_state_dict(state)
    torch.testing.assert_close(encoder.dense_position(6, 4), encoder.pe_layer.dense(6, 4))
    encoder.load_state_dict(_encoder().state_dict(), assign=True)
    torch.testing.assert_close(encoder.dense_position(6, 4), encoder.pe_layer.dense(6, 4))


def test_a_map_made_for_inference_also_serves_training() -> None:
    encoder = _encoder()
    with torch.inference_mode():
        encoder.dense_position(4, 4)
    weight = torch.ones(16, requires_grad=True)
    (encoder.dense_position(4, 4) * weight[:, None, None]).sum().backward()
    assert weight.grad is not None
