from dataclasses import replace

import pytest
import torch
from helpers.runs import make_run, resolved

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data import Example, load_data
from open_clip_mmrl.experiments import tune
from open_clip_mmrl.experiments.execute import execute
from open_clip_mmrl.experiments.result_parts import AlphaPoint, Candidate, Selection
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.experiments.tune import BETAS, LAMBDAS, Trial, hold_out, select
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
    held_out = hold_out(subset, RUN)
    trial = held_out.data
    assert held_out.count == 3  # one of four images of each class that is trained on
    assert held_out.base_to_novel
    assert not set(trial.train) & set(trial.test) and not trial.val
    assert set(trial.train) | set(trial.test) == set(subset.train)
    assert {example.label for example in trial.train} == {0, 1, 2}
    novel = trial.select("novel")  # classes that stand for new ones: all of their images
    assert len(novel.test) == 8 and novel.num_classes == 2
    held_out = hold_out(subset, RUN.replace(classes="all", protocol="few-shot"))
    assert held_out.count == len(held_out.data.test) == 5 and not held_out.base_to_novel


def test_lambda_then_beta_then_alpha_are_chosen_and_kept(tmp_path, caplog):
    caplog.set_level("INFO")
    subset = load_data("digits").few_shot(4, 1).select("base")
    nowhere = (Example(image=tmp_path / "nowhere.png", label=0),)
    subset = replace(subset, val=nowhere, test=nowhere)  # neither is looked at
    loaded = build()
    before = [p.clone() for p in loaded.model.learner.parameters()]
    job = resolved(RUN, tmp_path, subset=subset)
    found = select(loaded, job)
    tried = found.candidates
    assert [c.settings["reg_weight"] for c in tried[: len(LAMBDAS)]] == list(LAMBDAS)
    # 0.9 is the default, which every lambda has been tried with: not once more.
    assert {c.settings["beta"] for c in tried[: len(LAMBDAS)]} == {0.9}
    assert [c.settings["beta"] for c in tried[len(LAMBDAS) :]] == [b for b in BETAS if b != 0.9]
    best = max(c.score for c in tried)
    chosen = {k: v for k, v in found.chosen.items() if k != "alpha"}
    assert chosen.keys() == {"reg_weight", "beta"}
    assert Candidate(chosen, best) in tried and 0 <= found.chosen["alpha"] <= 1
    assert found.seconds > 0
    assert len(caplog.messages) == len(tried)
    assert "held-out images, reg_weight 0.2, beta 0.9: " in caplog.messages[0]
    for old, new in zip(before, loaded.model.learner.parameters(), strict=True):
        assert torch.equal(old, new)  # the run's own learner has not been trained
    caplog.clear()
    assert select(loaded, job) == found and not caplog.messages


def test_of_equals_the_nearest_to_the_recipe_is_chosen(tmp_path, monkeypatch):
    curve = tuple(AlphaPoint(a, {"base": 50.0, "novel": 50.0}) for a in (0.0, 0.6, 1.0))
    monkeypatch.setattr(tune, "try_settings", lambda *args: Trial(args[-1], 50, curve, 1))
    found = select(build(), resolved(RUN, tmp_path))
    assert found.chosen == {"reg_weight": 0.5, "beta": 0.9, "alpha": 0.6}
    assert found.seconds == len(found.candidates)


def test_a_stopped_selection_resumes_after_the_last_candidate(tmp_path, monkeypatch):
    tried = []

    def try_settings(loaded, held_out, classes, job, settings):
        if len(tried) == 3:
            raise KeyboardInterrupt
        tried.append(settings)
        curve = (AlphaPoint(0.7, {"base": 1.0, "novel": 1.0}),)
        return Trial(settings, settings["reg_weight"], curve, 1)

    monkeypatch.setattr(tune, "try_settings", try_settings)
    job = resolved(RUN.replace(method="mmrl"), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        select(build("mmrl"), job)
    tried[:] = [None]  # from here on, so that three more are let through
    found = select(build("mmrl"), job)
    assert [s["reg_weight"] for s in tried[1:]] == list(LAMBDAS[3:])
    assert found.chosen["reg_weight"] == max(LAMBDAS)


def test_one_image_per_class_leaves_nothing_to_choose_on(tmp_path, caplog):
    assert select(build(), resolved(RUN.replace(shots=1), tmp_path)) == Selection()
    assert "nothing to hold out" in caplog.text


def test_a_run_is_trained_and_tested_with_what_was_chosen(tmp_path):
    run = RUN.replace(method="mmrl")
    results = execute(run, tmp_path, QUIET)
    chosen = results.selection.chosen
    assert chosen.keys() == {"reg_weight", "alpha"}
    for name, value in chosen.items():
        assert results.config[name] == pytest.approx(value)
    assert results.settings_source == "validation"
