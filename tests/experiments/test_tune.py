from dataclasses import replace

import pytest
import torch
from helpers.runs import make_run

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data import Example, load_data
from open_clip_mmrl.experiments import tune as selection
from open_clip_mmrl.experiments.execute import execute
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.experiments.tune import BETAS, LAMBDAS, _hold_out, select
from open_clip_mmrl.hub.load import build_for_training

SETTINGS = {"start_layer": 6, "rep_dim": 8}
RUN = make_run(
    method="mmrl++",
    shots=4,
    settings=SETTINGS,
    settings_source="validation",
    train=TrainConfig(epochs=1, batch_size=10),
)


def build(method="mmrl++"):
    device = torch.device("cpu")
    return build_for_training(
        MODEL_NAME, TAG, method=method, settings=SETTINGS, device=device, seed=1
    )


QUIET = Runtime(device="cpu", quiet=True)


def test_only_the_runs_own_images_are_held_out():
    subset = load_data("digits").few_shot(4, 1).select("base")
    trial, held_out = _hold_out(subset, RUN)
    assert held_out == 3  # one of four images of each class that is trained on
    assert not set(trial.train) & set(trial.test) and not trial.val
    assert set(trial.train) | set(trial.test) == set(subset.train)
    assert {example.label for example in trial.train} == {0, 1, 2}
    novel = trial.select("novel")  # classes that play at being new: all of their images
    assert len(novel.test) == 8 and novel.num_classes == 2
    trial, held_out = _hold_out(subset, RUN.replace(classes="all", protocol="few-shot"))
    assert held_out == len(trial.test) == 5


def test_lambda_then_beta_then_alpha_are_chosen_and_kept(tmp_path, caplog):
    caplog.set_level("INFO")
    subset = load_data("digits").few_shot(4, 1).select("base")
    nowhere = (Example(image=tmp_path / "nowhere.png", label=0),)
    subset = replace(subset, val=nowhere, test=nowhere)  # neither is looked at
    loaded = build()
    before = [p.clone() for p in loaded.model.learner.parameters()]
    found = select(loaded, subset, RUN, tmp_path, QUIET)
    tried = found["candidates"]
    assert [c["reg_weight"] for c in tried[: len(LAMBDAS)]] == list(LAMBDAS)
    # 0.9 is the default, which every lambda has been tried with: not once more.
    assert {c["beta"] for c in tried[: len(LAMBDAS)]} == {0.9}
    assert [c["beta"] for c in tried[len(LAMBDAS) :]] == [b for b in BETAS if b != 0.9]
    best = max(c["score"] for c in tried)
    chosen = {k: v for k, v in found["chosen"].items() if k != "alpha"}
    assert chosen.keys() == {"reg_weight", "beta"}
    assert {**chosen, "score": best} in tried and 0 <= found["chosen"]["alpha"] <= 1
    assert found["seconds"] > 0
    assert len(caplog.messages) == len(tried)
    assert "held-out images, reg_weight 0.2, beta 0.9: " in caplog.messages[0]
    for old, new in zip(before, loaded.model.learner.parameters(), strict=True):
        assert torch.equal(old, new)  # the run's own learner has not been trained
    caplog.clear()
    assert select(loaded, subset, RUN, tmp_path, QUIET) == found and not caplog.messages


def test_of_equals_the_nearest_to_the_recipe_is_chosen(tmp_path, monkeypatch):
    curve = [{"alpha": a, "base": 50.0, "novel": 50.0} for a in (0.0, 0.6, 1.0)]
    same = {"score": 50.0, "alpha_curve": curve, "seconds": 1}
    monkeypatch.setattr(selection, "_score", lambda *_: same)
    subset = load_data("digits").few_shot(4, 1).select("base")
    found = select(build(), subset, RUN, tmp_path, QUIET)
    assert found["chosen"] == {"reg_weight": 0.5, "beta": 0.9, "alpha": 0.6}
    assert found["seconds"] == len(found["candidates"])


def test_a_choice_that_was_broken_off_goes_on_behind_the_last_candidate(tmp_path, monkeypatch):
    tried = []

    def score(loaded, trial, run, settings, runtime):
        if len(tried) == 3:
            raise KeyboardInterrupt
        tried.append(settings)
        curve = [{"alpha": 0.7, "base": 1.0, "novel": 1.0}]
        return {"score": settings["reg_weight"], "alpha_curve": curve, "seconds": 1}

    monkeypatch.setattr(selection, "_score", score)
    subset = load_data("digits").few_shot(4, 1).select("base")
    with pytest.raises(KeyboardInterrupt):
        select(build("mmrl"), subset, RUN, tmp_path, QUIET)
    tried[:] = [None]  # from here on, so that three more are let through
    found = select(build("mmrl"), subset, RUN, tmp_path, QUIET)
    assert [s["reg_weight"] for s in tried[1:]] == list(LAMBDAS[3:])
    assert found["chosen"]["reg_weight"] == max(LAMBDAS)


def test_one_image_per_class_leaves_nothing_to_choose_on(tmp_path, caplog):
    subset = load_data("digits").few_shot(1, 1).select("base")
    found = select(build(), subset, RUN.replace(shots=1), tmp_path, QUIET)
    assert found == {"chosen": {}, "candidates": [], "held_out": 0, "seconds": 0}
    assert "nothing to hold out" in caplog.text


def test_a_run_is_trained_and_tested_with_what_was_chosen(tmp_path):
    run = RUN.replace(method="mmrl")
    results = execute(run, tmp_path, QUIET)
    chosen = results["selection"]["chosen"]
    assert chosen.keys() == {"reg_weight", "alpha"}
    for name, value in chosen.items():
        assert results["config"][name] == pytest.approx(value)
    assert results["settings_source"] == "validation"
