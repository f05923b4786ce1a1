"""Features are kept as long as they hold, and no longer."""

import json

import numpy as np
import pytest
import torch
from helpers.benchmark_shards import sample, write_set
from helpers.upstream import still_broken
from safetensors import safe_open
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

from benchmark_adapters import seam
from benchmark_adapters.repairs import wds_reader
from benchmark_adapters.repairs.feature_cache import FeatureStore, data_digest, model_digest

CPU = torch.device("cpu")


class Tower(torch.nn.Module):
    """Features of pixels, and a count of the images it has seen."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.map = torch.nn.Linear(12, 6)
        self.act = torch.nn.GELU()
        self.seen = 0

    def encode_image(self, images):
        self.seen += len(images)
        return self.act(self.map(images.flatten(1)))


def images(count: int = 20, shift: float = 0.0) -> TensorDataset:
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randn(count, 3, 2, 2, generator=generator) + shift
    return TensorDataset(pixels, torch.arange(count) % 4)


def store(folder, model, **changes) -> FeatureStore:
    values = {"normalize": True, "amp": False, "device": CPU, **changes}
    return FeatureStore(folder, model, **values)


def loader(dataset=None, **kwargs) -> DataLoader:
    return DataLoader(dataset or images(), **{"batch_size": 8, **kwargs})


def test_features_are_the_model_s(tmp_path):
    model, dataset = Tower(), images()
    found = store(tmp_path, model).features("test", loader(dataset))
    expected = F.normalize(model.encode_image(dataset.tensors[0]), dim=-1)
    torch.testing.assert_close(found.values, expected.detach())
    assert torch.equal(found.labels, dataset.tensors[1])
    assert not found.values.requires_grad
    raw = store(tmp_path, model, normalize=False).features("test", loader(dataset))
    torch.testing.assert_close(raw.values, model.encode_image(dataset.tensors[0]).detach())


def test_half_precision(tmp_path):
    exact = store(tmp_path / "a", Tower()).features("test", loader()).values
    half = store(tmp_path / "b", Tower(), amp=True).features("test", loader()).values
    assert half.dtype == torch.float32 and not torch.equal(half, exact)
    torch.testing.assert_close(half, exact, rtol=0, atol=0.02)


def test_features_are_computed_once(tmp_path, caplog):
    model = Tower()
    first = store(tmp_path, model).features("train", loader())
    again = store(tmp_path, Tower()).features("train", loader())
    assert torch.equal(first.values, again.values) and torch.equal(first.labels, again.labels)
    assert model.seen == 20
    assert not caplog.messages
    store(tmp_path, model).features("val", loader())  # another split
    assert model.seen == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "train.safetensors",
        "val.safetensors",
    ]


def test_another_batch_size_changes_nothing(tmp_path):
    model = Tower()
    for size in (8, 16, 20):
        store(tmp_path, model).features("train", loader(batch_size=size))
    assert model.seen == 20


def test_a_file_contains_what_it_was_made_from(tmp_path):
    store(tmp_path, Tower(), amp=True).features("train", loader())
    with safe_open(tmp_path / "train.safetensors", "pt") as file:
        there = json.loads(file.metadata()["made_from"])
    assert there["normalize"] is True and there["precision"] == "bfloat16"
    assert set(there) == {"model", "kind of features", "normalize", "precision", "data", "images"}


def with_features(kind):
    model = Tower()
    model.features = kind
    return model


def with_activation(act):
    model = Tower()
    model.act = act
    return model


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": lambda: Tower(seed=1)}, "other model"),
        ({"model": lambda: with_activation(torch.nn.ReLU())}, "other model"),
        ({"model": lambda: with_features("fused")}, "other kind of features"),
        ({"normalize": False}, "other normalize"),
        ({"amp": True}, "other precision"),
        ({"data": lambda: images(19)}, "other data"),
        ({"data": lambda: images(shift=1e-3)}, "other images"),
        ({"normalize": False, "amp": True}, "other normalize, precision"),
    ],
)
def test_features_are_computed_again_after_a_change(tmp_path, caplog, change, words):
    caplog.set_level("INFO", "benchmark_adapters")
    store(tmp_path, Tower()).features("train", loader())
    model, data = change.pop("model", Tower)(), change.pop("data", images)()
    found = store(tmp_path, model, **change).features("train", loader(data))
    assert caplog.messages == [f"{tmp_path}/train.safetensors is computed again: {words}"]
    assert model.seen == len(data)
    fresh = store(tmp_path / "new", model, **change).features("train", loader(data))
    assert torch.equal(found.values, fresh.values)
    store(tmp_path, model, **change).features("train", loader(data))
    assert len(caplog.messages) == 1


def test_a_damaged_file_is_replaced(tmp_path, caplog):
    caplog.set_level("INFO", "benchmark_adapters")
    path = tmp_path / "train.safetensors"
    expected = store(tmp_path, Tower()).features("train", loader())
    content = path.read_bytes()
    for damaged in (b"", b"nothing", content[: len(content) // 2], content[:8] + b"x" * 900):
        path.write_bytes(damaged)
        found = store(tmp_path, Tower()).features("train", loader())
        assert torch.equal(found.values, expected.values)
        assert caplog.messages.pop().endswith("is computed again: other content than features")


# Data sets.


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path / "set", [sample(i) for i in range(5)], [sample(5)])


def corner(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[..., :2, :2].float()


def read(root):
    return wds_reader.build_wds_dataset("x", corner, data_dir=str(root))


@pytest.mark.parametrize("batched", [False, True])
def test_shards(tmp_path, root, capsys, caplog, batched):
    """As clip_benchmark reads training and test splits; a shard that changed is noticed."""
    caplog.set_level("INFO", "benchmark_adapters")

    def load():
        dataset = read(root)
        if batched:
            return DataLoader(dataset.batched(4), batch_size=None)
        return DataLoader(dataset, batch_size=4)

    model = Tower()
    found = store(tmp_path, model, verbose=True).features("test", load())
    assert found.labels.tolist() == [0, 1, 2, 3, 0, 1] and model.seen == 6
    assert "test features" in capsys.readouterr().err
    store(tmp_path, model).features("test", load())
    assert model.seen == 6
    write_set(root, [sample(i) for i in range(5)], [sample(6)])
    found = store(tmp_path, model).features("test", load())
    assert found.labels[-1] == 2 and model.seen == 12
    assert "other data" in caplog.text


def test_data_sets_have_different_hashes():
    class Files:
        def __init__(self, samples=(), targets=()):
            self.samples, self.targets = samples, targets

        def __len__(self):
            return 3

    whole = images()
    sets = [
        whole,
        Subset(whole, [0, 1, 2]),
        Subset(whole, [0, 1, 3]),
        Subset(images(19), [0, 1, 2]),
        Files(),
        Files([("a.jpg", 0)]),
        Files([("a.jpg", 1)]),
        Files(targets=[1, 2, 3]),
        Files(targets=torch.tensor([1, 2, 4])),
        Files(samples=len),  # not a list: ignored
    ]
    assert len({data_digest(dataset) for dataset in sets}) == len(sets) - 1
    assert data_digest(Files(targets=[1, 2, 4])) == data_digest(sets[-2])


def test_models_have_different_hashes():
    assert model_digest(Tower()) == model_digest(Tower())
    other = Tower()
    other.config = {"alpha": 0.5}
    changed = Tower()
    with torch.no_grad():
        changed.map.bias[3] += 1e-6
    half = Tower().bfloat16()
    with_function = Tower()
    with_function.act = torch.nn.Softmax(dim=1)
    digests = [model_digest(m) for m in (Tower(), other, changed, half, with_function)]
    assert len(set(digests)) == 5


def test_clip_benchmark_uses_features_of_another_model(tmp_path, monkeypatch):
    """Files of that name are there; the model that made them is not compared."""

    class ReachedError(Exception):
        pass

    def train(batches, *args):
        raise ReachedError(f"features of {batches.dataset.features[0].tolist()}")

    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    monkeypatch.setattr("clip_benchmark.metrics.linear_probe.train", train)
    folder = tmp_path / "model-x"
    folder.mkdir()
    for split in ("train", "test"):
        torch.save(torch.full((4, 2), 7.0), folder / f"features_{split}.pt")
        torch.save(torch.arange(4), folder / f"targets_{split}.pt")
    options = {"lr": 0.1, "epochs": 1, "seed": 0, "device": "cuda", "amp": False}
    names = {"model_id": "model-x", "feature_root": str(tmp_path)}
    evaluate = seam.original(seam.PROBE, "evaluate")
    with still_broken("feature_cache", ReachedError, r"features of \[7.0, 7.0\]"):
        evaluate(Tower(), loader(), loader(), -1, 8, 0, **options, **names)


# Errors.


def test_no_images(tmp_path):
    with pytest.raises(ValueError, match="no images in the val split"):
        store(tmp_path, Tower()).features("val", DataLoader([], batch_size=4))


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (torch.zeros(20, 4, dtype=torch.long), r"targets is torch.int64 of shape \[8, 4\]"),
        (torch.zeros(20), r"targets is torch.float32 of shape \[8\]"),
        (torch.arange(20) - 9, "a label is -9"),
        ([["a caption"]] * 20, "a batch of targets is of type list"),
    ],
)
def test_targets_that_are_no_class_labels(tmp_path, targets, words):
    pairs = list(zip(images().tensors[0], targets, strict=True))
    with pytest.raises(ValueError, match=f"one class label .* train split .*{words}"):
        store(tmp_path, Tower()).features("train", loader(pairs))
    assert not list(tmp_path.iterdir())
