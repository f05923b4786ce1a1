"""The linear probe against clip_benchmark's own, which is patched to run on the CPU."""

import inspect
import io
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from clip_benchmark.metrics import linear_probe as upstream
from helpers.benchmark_shards import write_set
from helpers.upstream import still_broken
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from benchmark_adapters import seam
from benchmark_adapters.repairs import linear_probe, wds_reader
from benchmark_adapters.repairs.feature_cache import Features
from benchmark_adapters.repairs.linear_probe import Recipe, check_val_proportion, draw, fit, peak
from open_clip_mmrl import assets
from open_clip_mmrl.data.readers.digits import CLASS_NAMES, read_digits
from open_clip_mmrl.errors import UsageError

WIDTH, CPU = 8, torch.device("cpu")
SPLITS = {"train": 60, "val": 30, "test": 45}


class Tower(torch.nn.Module):
    """A model whose features are a map of the pixels."""

    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(12, WIDTH, bias=False)
        torch.nn.init.orthogonal_(self.map.weight)

    def encode_image(self, images):
        return self.map(images.flatten(1))


def data(classes: int = 3, spread: float = 1.5, **sizes: int) -> dict[str, TensorDataset]:
    """Noisy "images" [3, 2, 2] around a center for each class, in every split."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(classes, 3, 2, 2, generator=generator)
    found = {}
    for split, count in {**SPLITS, **sizes}.items():
        labels = torch.arange(count) % classes
        noise = torch.randn(count, 3, 2, 2, generator=generator)
        found[split] = TensorDataset(centers[labels] + spread * noise, labels)
    return found


def given(folder, sets=None, val=True, **changes) -> dict:
    """Arguments of `evaluate`."""
    sets = sets or data()
    torch.manual_seed(0)
    loaders = {split: DataLoader(part, batch_size=16) for split, part in sets.items()}
    return {
        "model": Tower(),
        "train_dataloader": loaders["train"],
        "dataloader": loaders["test"],
        "val_dataloader": loaders["val"] if val else None,
        "fewshot_k": -1,
        "batch_size": 16,
        "num_workers": 0,
        "lr": 0.1,
        "epochs": 3,
        "model_id": "tower",
        "seed": 3,
        "feature_root": str(folder / "features"),
        "device": "cpu",
        "amp": False,
        **changes,
    }


# Against clip_benchmark.


class AnyDevice(str):
    """ "cpu", which compares equal to "cuda"."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        return True


@pytest.fixture
def on_cpu(monkeypatch):
    """clip_benchmark's `evaluate`, with all that ties it to CUDA and to old numpy undone."""
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())

    def accuracy(output, target, topk):
        top = output.topk(max(topk), 1).indices == target[:, None]
        return [float(top[:, :k].sum()) / len(target) for k in topk]

    monkeypatch.setattr(upstream, "accuracy", accuracy)
    original = seam.original(seam.PROBE, "evaluate")

    def evaluate(**kwargs):
        kwargs = {**kwargs, "device": AnyDevice("cpu")}
        Path(kwargs["feature_root"]).parent.mkdir()
        original(**kwargs)  # fills its cache of features, for which it draws random numbers
        torch.manual_seed(kwargs["seed"])
        return original(**kwargs)

    return evaluate


@pytest.mark.filterwarnings("ignore:.*pin_memory")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"val": False},
        {"fewshot_k": 4},
        {"fewshot_k": 4, "val": False, "seed": 11, "epochs": 5, "lr": 0.02},
        {"normalize": False, "batch_size": 7},
        {"sets": data(classes=7, spread=0.8)},
    ],
    ids=["search", "no search", "few shots, search", "few shots", "raw", "top five"],
)
def test_same_metrics_as_clip_benchmark(tmp_path, on_cpu, changes):
    expected = on_cpu(**given(tmp_path / "theirs", **changes))
    found = linear_probe.evaluate(**given(tmp_path / "ours", **changes))
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert list(found) == list(expected)
    assert 1 / 3 < found["lp_acc1"] < 1  # so that the agreement means something


def test_clip_benchmark_runs_on_cuda_only(tmp_path):
    with still_broken("linear_probe", AssertionError, ""):
        seam.original(seam.PROBE, "evaluate")(**given(tmp_path, amp=True))


def test_same_arguments_as_clip_benchmark():
    original = inspect.signature(seam.original(seam.PROBE, "evaluate")).parameters
    ours = inspect.signature(linear_probe.evaluate).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in original.values()
    ]


def test_learning_rates_are_clip_benchmark_s(monkeypatch):
    rates = []

    class Optimizer(torch.optim.AdamW):
        def step(self):
            rates.append(self.param_groups[0]["lr"])
            super().step()

    monkeypatch.setattr(torch.optim, "AdamW", Optimizer)
    fit(features(10), 0.0, Recipe(3, 0.3, 4, 4, 0, CPU))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    schedule = upstream.cosine_lr(optimizer, 0.3, 0, 12)
    for step, rate in enumerate(rates):
        schedule(step)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-15)
    assert len(rates) == 12


# Digits, through shards and the shipped model.


@cache
def tiny():
    model, _, transform = open_clip.create_model_and_transforms(assets.MODEL_NAME, assets.TAG)
    return model.eval(), transform


@pytest.fixture
def digits(tmp_path):
    """Folder of shards of the digits: 200 train, 100 val, 200 test."""
    source, root = read_digits(), tmp_path / "digits"

    def sample(example):
        stream = io.BytesIO()
        Image.fromarray(example.image).save(stream, "PNG")
        return {"png": stream.getvalue(), "cls": str(example.label).encode()}

    for split, count in {"train": 200, "val": 100, "test": 200}.items():
        items = [sample(example) for example in getattr(source, split)[:count]]
        write_set(root, items[:70], items[70:], split=split, classes=list(CLASS_NAMES))
    return root


def test_digits_from_shards(tmp_path, digits, capsys):
    """As clip_benchmark's command line builds its loaders; the model has never seen a digit
    written by hand."""
    model, transform = tiny()
    sets = {
        split: wds_reader.build_wds_dataset("digits", transform, split, str(digits))
        for split in ("train", "val", "test")
    }
    arguments = {
        **given(tmp_path, model=model, amp=True, fewshot_k=-1, epochs=10, batch_size=64),
        "train_dataloader": DataLoader(sets["train"], batch_size=64, num_workers=2),
        "val_dataloader": DataLoader(sets["val"], batch_size=64),
        "dataloader": DataLoader(sets["test"].batched(64), batch_size=None, num_workers=2),
    }
    first = linear_probe.evaluate(**arguments, verbose=True)
    assert first["lp_acc1"] > 0.7 and first["lp_acc5"] > 0.9
    assert first["weight_decay"] in linear_probe.WEIGHT_DECAYS
    assert "test features" in capsys.readouterr().err
    few = linear_probe.evaluate(**{**arguments, "fewshot_k": 2}, verbose=True)
    assert 0.2 < few["lp_acc1"] < first["lp_acc1"]
    assert "features" not in capsys.readouterr().err  # they are there already


# Parts.


def features(count: int, classes: int = 3) -> Features:
    generator = torch.Generator().manual_seed(1)
    return Features(torch.randn(count, WIDTH, generator=generator), torch.arange(count) % classes)


def test_results_depend_on_the_seed_alone(tmp_path):
    results = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        arguments = given(tmp_path / str(disturbance), fewshot_k=3, seed=5)
        torch.manual_seed(disturbance)
        results.append(linear_probe.evaluate(**arguments))
    assert results[0] == results[1]
    others = [
        linear_probe.evaluate(**given(tmp_path / "1", fewshot_k=3, seed=seed))["lp_acc1"]
        for seed in range(6)
    ]
    assert len(set(others)) > 1


def test_shots_are_drawn_by_the_seed_alone():
    labels = torch.tensor([0, 1, 1, 0, 2, 2, 1, 0, 2, 1])
    draws = set()
    for seed in range(20):
        rows = draw(labels, 2, seed, tested=labels)
        torch.rand(3)
        assert torch.equal(rows, draw(labels, 2, seed, tested=labels))
        assert sorted(labels[rows].tolist()) == [0, 0, 1, 1, 2, 2]
        assert len(set(rows.tolist())) == 6
        draws.add(tuple(rows.tolist()))
    assert len(draws) > 10
    assert sorted(draw(labels, -1, 0, tested=labels).tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("shots", "tested", "words"),
    [
        (3, [0, 1], r"fewshot_k is 3, but the class with label 1 has 2 .* give at most 2, or -1"),
        (2, [0, 4], r"fewshot_k is 2, but the class with label 4 has 0 .* give -1 for all"),
    ],
)
def test_too_few_images_of_a_class(shots, tested, words):
    with pytest.raises(ValueError, match=words):
        draw(torch.tensor([0, 1, 0, 1, 0]), shots, 0, tested=torch.tensor(tested))


def test_too_few_images_in_a_run(tmp_path):
    with pytest.raises(ValueError, match="fewshot_k is 21, but the class with label 0 has 20"):
        linear_probe.evaluate(**given(tmp_path, fewshot_k=21))


def their_peak(value, count):
    """The search as clip_benchmark's code has it, every index tried in every round."""

    def find(indices):
        top, most = 0, 0
        for index in indices:
            if value(index) > most:
                top, most = index, value(index)
        return top

    top, span = find(range(0, count, 16)), 8
    while span > 0:
        top = find([max(top - span, 0), top, min(top + span, count - 1)])
        span //= 2
    return top


@pytest.mark.parametrize("seed", range(10))
def test_the_search_ends_where_clip_benchmark_s_does(seed):
    values = np.random.default_rng(seed).integers(1, 8, 97) / 8  # with ties
    tried = []

    def value(index):
        tried.append(index)
        return values[index]

    assert peak(value, 97) == their_peak(values.__getitem__, 97)
    assert len(tried) == len(set(tried)) <= 15


@pytest.mark.parametrize("summit", [0, 1, 40, 48, 95, 96])
def test_the_search_finds_the_peak(summit):
    assert peak(lambda index: -abs(index - summit), 97) == summit


def test_weight_decays_are_clip_benchmark_s():
    assert list(linear_probe.WEIGHT_DECAYS) == np.logspace(-6, 2, num=97).tolist()


def test_weight_decay_shrinks_the_weights():
    train, norms = features(30), []
    for weight_decay in (0.0, 1.0, 30.0):
        classifier = fit(train, weight_decay, Recipe(3, 0.1, 5, 8, 0, CPU))
        norms.append(classifier.weight.norm().item())
    assert norms[0] > norms[1] > norms[2]


def test_a_class_only_among_test_images(tmp_path):
    """It can never be answered, and counts."""
    sets = data()
    sets["test"] = TensorDataset(sets["test"].tensors[0], torch.arange(45) % 4)
    found = linear_probe.evaluate(**given(tmp_path, sets))
    assert found["lp_acc1"] <= 0.75


def test_a_class_only_among_validation_images(tmp_path):
    sets = data()
    sets["val"] = TensorDataset(sets["val"].tensors[0], torch.arange(30) % 4)
    assert linear_probe.evaluate(**given(tmp_path, sets))["lp_acc1"] > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fewshot_k": 0}, "--fewshot_k is 0; give 1 or more, or -1"),
        ({"epochs": 0}, "--fewshot_epochs is 0; give 1 or more"),
        ({"batch_size": 0}, "--batch_size is 0; give 1 or more"),
    ],
)
def test_options_out_of_range(tmp_path, changes, words):
    with pytest.raises(UsageError, match=words):
        linear_probe.evaluate(**given(tmp_path, **changes))
    assert not (tmp_path / "features").exists()


def test_verbose_shows_progress_and_a_report(tmp_path, capsys):
    linear_probe.evaluate(**given(tmp_path))
    assert capsys.readouterr() == ("", "")
    found = linear_probe.evaluate(**given(tmp_path), verbose=True)
    out, err = capsys.readouterr()
    assert "recall" in out and f"weight decay {found['weight_decay']:g}" in out
    assert "weight decay: " in err and "train features" not in err  # which were there


@pytest.mark.parametrize("name", ["wds/digits", "tfds/mnist", "vtab/pets"])
def test_streams_cannot_be_split(name):
    with pytest.raises(UsageError, match=f"cannot split {name}, .* --val_split val"):
        check_val_proportion(name, 0.2)
    check_val_proportion(name, None)
    check_val_proportion("cifar10", 0.2)


@pytest.mark.parametrize("proportion", [0.0, 1.0, -0.5, 20.0])
def test_val_proportion_out_of_range(proportion):
    with pytest.raises(UsageError, match=f"--val_proportion is {proportion}; give a share"):
        check_val_proportion("cifar10", proportion)


def test_each_kind_of_features_has_its_own_folder():
    assert linear_probe._folder("model", None) == "model"
    assert linear_probe._folder("model", "fused") == "model-fused"
    long = [linear_probe._folder("x" * 300, kind) for kind in ("class", "fused")]
    assert len(set(long)) == 2 and all(len(name) < 200 for name in long)
