"""The pyramid: composed 1×1 convolutions against the plain ones."""

from __future__ import annotations

import pytest
import torch

from model.network.sam2 import Sam2


@pytest.mark.parametrize("batch", [1, 2])
def test_composed_convolutions_equal_the_plain_ones(micro_model: Sam2, batch: int) -> None:
    size = micro_model.image_size
    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    plain = micro_model.image_features(micro_model.image_encoder(images))
    with torch.inference_mode():
        lean = micro_model.encode_images(images)
    for ours, theirs in zip(
        (lean.embedding, *lean.high_res), (plain.embedding, *plain.high_res), strict=True
    ):
        assert ours.is_contiguous()
        torch.testing.assert_close(ours, theirs.detach(), atol=1e-4, rtol=1e-5)


def test_composed_convolutions_give_the_gradients_of_the_plain_ones(micro_model: Sam2) -> None:
    size = micro_model.image_size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    gradients = []
    for encode in (
        micro_model.encode_images,
        lambda images: micro_model.image_features(micro_model.image_encoder(images)),
    ):
        micro_model.zero_grad()
        features = encode(images)
        sum(maps.square().sum() for maps in (features.embedding, *features.high_res)).backward()  # type: ignore[union-attr]
        gradients.append({name: p.grad for name, p in micro_model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, plain in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


def test_encoding_in_bfloat16_is_close(micro_model: Sam2) -> None:
    size = micro_model.image_size
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact = micro_model.encode_images(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = micro_model.encode_images(images)
    assert (rough.embedding.float() - exact.embedding).abs().mean() < 0.05 * exact.embedding.abs().mean()
