"""Initialisation of a model that starts from nothing."""

from __future__ import annotations

import numpy as np
import torch

from model.network.sam2 import Sam2
from model.training.batch import Batch
from model.training.young import initialise_young, spread_candidates

from .conftest import SquareClips


def sample(squares: SquareClips) -> Batch:
    rng = np.random.default_rng(0)
    return Batch.from_clips([squares.clip(i, rng, frames=1, objects=1, size=64) for i in range(4)])


def test_memory_and_embedding_start_at_unit_scale(micro: Sam2, squares: SquareClips) -> None:
    batch = sample(squares)
    initialise_young(micro, batch.images[0], batch.masks[0])
    features = micro.encode_images(micro.preprocess(batch.images[0]))
    logits = batch.masks[0].unsqueeze(1).float() * 20 - 10
    memory, _ = micro.encode_memory(features, logits, torch.ones(4, 1), binarize=False)
    assert 0.5 < float(features.embedding.detach().std()) < 2.5
    assert 0.5 < float(memory.detach().std()) < 1.5


def test_a_young_model_takes_objects_for_present(micro: Sam2, squares: SquareClips) -> None:
    batch = sample(squares)
    initialise_young(micro, batch.images[0], batch.masks[0])
    features = micro.encode_images(micro.preprocess(batch.images[0]))
    heads = micro.sam_heads(micro.condition(features, None), features.high_res, multimask=False)
    assert (heads.object_score > 0).all()


def test_candidates_start_near_the_single_mask(micro: Sam2, squares: SquareClips) -> None:
    batch = sample(squares)
    initialise_young(micro, batch.images[0], batch.masks[0])
    spread_candidates(micro, torch.Generator().manual_seed(0))
    micro.eval()
    features = micro.encode_images(micro.preprocess(batch.images[0]))
    conditioned = micro.condition(features, None)
    single = micro.train().sam_heads(conditioned, features.high_res, multimask=False)
    several = micro.sam_heads(conditioned, features.high_res, multimask=True)
    difference = (several.low_res_multimasks - single.low_res_multimasks).abs().mean()
    assert 0 < float(difference.detach()) < float(single.low_res_multimasks.detach().std())
