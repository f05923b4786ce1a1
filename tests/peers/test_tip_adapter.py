from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from helpers.peers import frozen_batch, peer_task

from open_clip_mmrl.models.ops import unit
from open_clip_mmrl.peers import tip_adapter
from open_clip_mmrl.peers.tip_adapter import TipAdapter, train_tip_adapter, train_tip_adapter_f


def made_cache() -> TipAdapter:
    """Five keys of two classes, "one" and "three"."""
    keys = unit(torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    values = torch.eye(2, dtype=torch.float64)[[0, 0, 1, 1, 1]]
    names = ("one", "three")
    return TipAdapter(num_parameters=0, images_seen=5, keys=keys, values=values, class_names=names)


@pytest.fixture(scope="module")
def task():
    with patch.object(tip_adapter, "VIEWS", 2):
        yield peer_task("tip_adapter_f", epochs=2)


def test_logits_are_those_of_the_paper_and_new_classes_keep_frozen_clips(task):
    cache = made_cache()
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(3, 4, dtype=torch.float64, generator=generator)
    frozen = torch.randn(3, 3, dtype=torch.float64, generator=generator)
    scored = replace(task.subset, class_names=("three", "two", "One"), train=())
    found = cache.scorer(task.loaded, scored)(SimpleNamespace(features=features, logits=frozen))
    wanted = frozen.clone()
    for image in range(3):
        for key in range(5):
            cosine = features[image] @ cache.keys[key] / features[image].norm()
            column = 0 if cache.values[key, 1] else 2
            wanted[image, column] += 1.0 * torch.exp(-5.5 * (1 - cosine))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert torch.equal(found[:, 1], frozen[:, 1])


@pytest.mark.parametrize(("name", "added"), [("ALPHA", 0.0), ("BETA", 2.0)])
def test_without_alpha_nothing_is_added_and_without_beta_the_shots(task, monkeypatch, name, added):
    monkeypatch.setattr(tip_adapter, name, 0.0)
    batch = frozen_batch(task)
    found = train_tip_adapter(task).scorer(task.loaded, task.subset)(batch)
    torch.testing.assert_close(found, batch.logits + added, rtol=0, atol=1e-5)


def test_f_trains_the_keys_and_nothing_else(task):
    cache, trained = train_tip_adapter(task), train_tip_adapter_f(task)
    assert cache.num_parameters == 0 and cache.images_seen == 2 * 8
    assert trained.num_parameters == 2 * 4 * 64 and trained.images_seen == 2 * 8 + 2 * 8
    torch.testing.assert_close(cache.keys.norm(dim=1), torch.ones(8))
    assert not torch.equal(trained.keys, cache.keys)
    assert torch.equal(trained.values, cache.values)
    assert all(p.grad is None for p in task.loaded.model.parameters())
    assert torch.equal(trained.keys, train_tip_adapter_f(task).keys)  # by the seed alone
