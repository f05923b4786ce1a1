import pytest
from helpers.runs import make_run

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.data import load_data
from open_clip_mmrl.experiments.time_estimate import Rates, makespan, seconds_of

RATES = Rates(1e9, 1e9)


def test_a_run_costs_in_proportion_to_its_steps_and_zero_shot_to_its_test_images():
    data = load_data("digits")
    full = "mmrl-ViT-B-16"
    run = make_run(model=full, settings={}, shots=16, train=TrainConfig(epochs=10, batch_size=4))
    untrained = seconds_of(run.replace(method="zeroshot"), data, RATES)
    one = seconds_of(run, data, RATES) - untrained
    two = (
        seconds_of(run.replace(train=TrainConfig(epochs=20, batch_size=4)), data, RATES) - untrained
    )
    assert two == pytest.approx(2 * one)
    assert seconds_of(run, data, Rates(2e9, 2e9)) == pytest.approx(seconds_of(run, data, RATES) / 2)
    chosen = seconds_of(run.replace(settings_source="validation"), data, RATES) - untrained
    # Four, then two lambdas in folds of three quarters of the images of half the classes.
    assert chosen == pytest.approx(one * (1 + 0.375 * (4 * 0.4 + 10 * 0.6)))
    assert seconds_of(run, data, RATES, trains=False) == untrained  # the adapter of another run
    # ViT-B/16 takes 17.6 * 10^9 multiplications and additions per image, once.
    per_image = untrained * 1e9 / len(data.test) / 2
    assert per_image == pytest.approx(17.6e9 * (12 + 7) / 12, rel=0.05)


def test_a_stage_waits_for_the_one_before_and_deals_runs_out_in_order():
    assert makespan([[3, 1, 1, 2], [4]], 2) == 4 + 4  # 3 and 1, 1, 2
    assert makespan([[3, 1, 1, 2], [4]], 1) == 11
