import json
from types import SimpleNamespace

import pytest
import torch
from helpers.runs import make_run, resolved

from open_clip_mmrl import MMRLConfig, TrainConfig
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data.loading.device_augment import training_images
from open_clip_mmrl.experiments.execute import execute
from open_clip_mmrl.experiments.result_parts import Selection
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.experiments.score import score_split
from open_clip_mmrl.experiments.tune import select as room
from open_clip_mmrl.experiments.tune.folds import folds
from open_clip_mmrl.experiments.tune.rule import Option
from open_clip_mmrl.experiments.tune.search import fold_logits
from open_clip_mmrl.experiments.tune.select import (
    GRIDS,
    better_half,
    select,
    settings_per_fold,
    usual_settings,
)
from open_clip_mmrl.experiments.tune.trials import Trial
from open_clip_mmrl.hub.load import build_for_training
from open_clip_mmrl.training.trainer import Trainer

SETTINGS = {"start_layer": 5, "rep_dim": 8}  # two layers with tokens: beta matters
RUN = make_run(
    shots=4,
    settings=SETTINGS,
    settings_source="validation",
    train=TrainConfig(epochs=1, batch_size=10),
)
QUIET = Runtime(device="cpu", quiet=True)


def build(method="mmrl"):
    device = torch.device("cpu")
    return build_for_training(
        MODEL_NAME, TAG, method=method, settings=SETTINGS, device=device, seed=1
    )


def test_logits_are_those_of_a_training_of_its_own_bit_for_bit(tmp_path):
    loaded, job = build("mmrl++"), resolved(RUN.replace(method="mmrl++"), tmp_path)
    before = [p.clone() for p in loaded.model.learner.parameters()]
    fold = folds(job.subset, job.run)[1]
    found = fold_logits(loaded, job, fold, GRIDS["mmrl++"][1:4])
    data, train = fold.trained_on, job.run.train
    for settings, logits in found:
        alone = build("mmrl++")
        alone = alone._replace(model=alone.model.with_config(**settings))
        tokens = alone.class_tokens(data.class_names, data.template)
        images = training_images(alone.model, data.train, train)
        Trainer(alone.model, tokens, images, train, quiet=True).fit()
        expected, _ = score_split(alone, fold.data, "test", train.precision, QUIET)
        for name in ("by_class", "by_rep", "frozen", "labels"):
            assert torch.equal(getattr(logits, name), getattr(expected, name)), (settings, name)
    assert [settings for settings, _ in found] == list(GRIDS["mmrl++"][1:4])
    assert not torch.equal(found[0][1].by_class, found[2][1].by_class)
    for old, new in zip(before, loaded.model.learner.parameters(), strict=True):
        assert torch.equal(old, new)  # the run's own learner has not been trained


def usual(method="mmrl"):
    """What `select` reads of a model where nothing is trained."""
    return SimpleNamespace(model=SimpleNamespace(config=MMRLConfig(variant=method)))


@pytest.fixture
def tried(monkeypatch):
    """Record what is tried, and let the largest reg_weight get most right."""
    calls = []

    def try_settings(loaded, job, number, fold, grid):
        if len(calls) == 2 and "resumed" not in calls:
            raise KeyboardInterrupt
        calls.append((number, [settings["reg_weight"] for settings in grid]))
        hits = [tuple(int(80 + s["reg_weight"]) for _ in range(5)) for s in grid]
        return [
            Trial(number, s, 1, fold.labels[:3], (100,) * 5, {0.0: counts, 0.7: counts})
            for s, counts in zip(grid, hits, strict=True)
        ]

    monkeypatch.setattr(room, "_try", try_settings)
    return calls


def test_a_stopped_search_resumes_after_the_last_fold(tmp_path, tried):
    job = resolved(RUN, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        select(usual(), job)
    tried.append("resumed")
    found = select(usual(), job)
    assert tried[0] == (0, [0.5, 0.2, 2.0, 6.0])
    assert tried[1:] == [(1, [0.5, 6.0]), "resumed", (2, [0.5, 6.0]), (3, [0.5, 6.0])]
    assert settings_per_fold("mmrl", 4) == [4, 2, 2, 2]
    assert found.chosen == {"reg_weight": 6.0, "alpha": 0.7}
    assert [c.folds for c in found.candidates] == [4, 1, 1, 4]
    assert found.seconds == 10 and found.held_out == 4 * 300
    assert select(usual(), job) == found and len(tried) == 5


@pytest.mark.parametrize("variant", GRIDS)
def test_usual_settings_belong_to_the_grid_and_survive_every_fold(variant):
    usual = usual_settings(MMRLConfig(variant=variant))
    assert usual in GRIDS[variant]
    options = [Option(s, 0.7, s["reg_weight"], torch.zeros(2)) for s in GRIDS[variant]]
    kept = better_half(options, usual)
    assert len(kept) == len(options) // 2 and kept[0] == usual


def test_an_earlier_versions_file_is_no_part_of_the_search(tmp_path, tried):
    entry = {"settings": {"reg_weight": 6.0}, "score": 99.0, "alpha_curve": [], "seconds": 1}
    (tmp_path / "selection.json").write_text(json.dumps([entry]))
    tried.append("resumed")
    job = resolved(RUN, tmp_path)
    assert select(usual(), job).chosen["reg_weight"] == 6.0
    (tmp_path / "selection.json").write_text(json.dumps([entry]))
    (tmp_path / "checkpoint.pt").touch()
    with pytest.raises(ValueError, match=r"earlier version.*remove the folder"):
        select(usual(), job)


def test_one_image_per_class_leaves_nothing_to_choose_on(tmp_path, caplog):
    assert select(usual(), resolved(RUN.replace(shots=1), tmp_path)) == Selection()
    assert "nothing to hold out" in caplog.text


def test_a_diverged_training_is_left_out(tmp_path, caplog):
    run = RUN.replace(train=RUN.train.replace(epochs=2, warmup_lr=1e30, lr=1e30))
    assert select(build(), resolved(run, tmp_path)) == Selection()
    assert "reg_weight 6: training on held-out images diverged" in caplog.text


def test_a_run_is_trained_and_tested_with_what_was_chosen(tmp_path):
    results = execute(RUN.replace(shots=2), tmp_path, QUIET)
    chosen = results.selection.chosen
    assert chosen.keys() == {"reg_weight", "alpha"}
    for name, value in chosen.items():
        assert results.config[name] == pytest.approx(value)
    assert results.settings_source == "validation"
