"""`open-clip-mmrl run` on the fifteen layouts, small and generated, with the shipped tiny CLIP."""

import json

import pytest
from data.trees import write_all
from test_cli import run

from open_clip_mmrl.data.catalog import CATALOG, names
from open_clip_mmrl.trainer import Trainer

FAST = [
    "--set",
    "epochs=2",
    "--set",
    "batch_size=8",
    "--set",
    "start_layer=6",
    "--set",
    "rep_dim=8",
]
FAST += ["--device", "cpu", "--quiet", "--seeds", "1"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """All fifteen data sets."""
    root = tmp_path_factory.mktemp("root")
    write_all(root)
    return root


def results(folder):
    return {
        str(path.parent.relative_to(folder)): json.loads(path.read_text())
        for path in sorted(folder.rglob("results.json"))
    }


def without_times(found):
    times = ("train_seconds", "train_ms_per_image", "eval_images_per_second")
    return {k: {n: v for n, v in r.items() if n not in times} for k, r in found.items()}


def test_base_to_novel_of_the_eleven_killed_and_resumed(root, tmp_path, monkeypatch):
    command = ["run", "base-to-novel", "--data-root", root, *FAST, "--methods", "zeroshot", "mmrl"]
    code, text, _ = run(*command, "--shots", 2, "--output", tmp_path / "whole")
    assert code == 0, text
    whole = results(tmp_path / "whole")
    assert len(whole) == 22 and "[22/22]" in text
    assert {r["dataset"] for r in whole.values()} == set(names("few-shot"))
    assert all(r["sizes"]["paper_split"] is False for r in whole.values())

    end_of_epoch, seen = Trainer._end_of_epoch, []

    def stop(self, epoch, *args):
        end_of_epoch(self, epoch, *args)
        seen.append(epoch)
        if len(seen) == 7:  # after the first epoch of the fourth training
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_end_of_epoch", stop)
    code, text, _ = run(*command, "--shots", 2, "--output", tmp_path / "broken")
    assert code == 130 or "Stopped" in text
    assert 0 < len(results(tmp_path / "broken")) < 22
    monkeypatch.undo()
    code, text, _ = run(*command, "--shots", 2, "--output", tmp_path / "broken")
    assert code == 0, text
    assert without_times(results(tmp_path / "broken")) == without_times(whole)


def test_few_shot_with_every_method(root, tmp_path):
    code, text, _ = run(
        "run", "few-shot", "--data-root", root, "--datasets", "dtd,eurosat", "--shots", 1, 2,
        *FAST, "--output", tmp_path,
    )  # fmt: skip
    assert code == 0, text
    found = results(tmp_path)
    assert len(found) == 2 * (1 + 2 * 3)
    assert "few-shot/dtd/linear_probe/1-shots-seed1" in found


@pytest.mark.parametrize(
    ("protocol", "targets"),
    [
        ("cross-dataset", [name for name in names("few-shot") if name != "imagenet"]),
        ("domain-generalization", names("domain shift")),
    ],
)
def test_transfer_to_every_target(root, tmp_path, protocol, targets):
    code, text, _ = run(
        "run", protocol, "--data-root", root, "--methods", "zeroshot", "mmrl++", "--shots", 2,
        "--settings", "paper", *FAST, "--output", tmp_path,
    )  # fmt: skip
    assert code == 0, text
    found = results(tmp_path)
    assert len(found) == 2 and len(targets) in (4, 10)
    for result in found.values():
        assert list(result["targets"]) == targets
        assert all(0 <= t["accuracy"] <= 100 for t in result["targets"].values())
    trained = found[f"{protocol}/imagenet/mmrlpp/2-shots-seed1"]
    betas = {name: t["beta"] for name, t in trained["targets"].items()}
    assert betas.get("stanford_cars", 0.3) == 0.3 and betas.get("imagenet_a", 0.8) == 0.8


def test_an_ablation_in_one_line(root, tmp_path):
    code, text, _ = run(
        "run", "ablation", "--data-root", root, "--datasets", "dtd", "--sweep", "alpha",
        "--values", 0.2, 0.9, "--shots", 2, *FAST, "--output", tmp_path,
    )  # fmt: skip
    assert code == 0, text
    points = [r["ablation"]["value"] for r in results(tmp_path).values()]
    assert sorted(points) == [0.2, 0.9]


def test_a_dry_run_lists_and_computes_nothing(root, tmp_path):
    command = ["run", "base-to-novel", "--data-root", root, "--datasets", "dtd", "digits", *FAST]
    command += ["--shots", "2", "--output", tmp_path]
    code, text, _ = run(*command, "--dry-run")
    assert code == 0 and "base-to-novel/dtd/mmrl/2-shots-seed1: about 1 s" in text
    assert "8 runs, 0 finished; the rest about" in text and not list(tmp_path.iterdir())
    run(*command, "--methods", "zeroshot")
    code, text, _ = run(*command, "--dry-run")
    assert "base-to-novel/dtd/zeroshot: finished" in text and "2 finished" in text


def test_missing_data_fail_alone_and_are_told_at_the_end(root, tmp_path):
    command = ["run", "base-to-novel", "--datasets", "dtd", "digits", "--methods", "zeroshot"]
    code, text, _ = run(*command, *FAST, "--output", tmp_path)
    assert code == 1 and "1 of 2 runs failed" in text and "needs data_root" in text
    assert len(results(tmp_path)) == 1
    code, text, _ = run(*command, *FAST, "--output", tmp_path, "--dry-run")
    assert "coop:dtd cannot be read" in text and "its data are missing" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "one"], "seeds is 'one'; give whole numbers separated by commas"),
        (["--set", "epochs"], "--set 'epochs' has no '='; write NAME=VALUE"),
        (["--set", "alpha=high"], "alpha is 'high'"),
        (["--settings", "paper", "--datasets", "digits"], "no paper settings for 'digits'"),
        (["--methods", "maple"], "method 'maple' is not known"),
        (["--datasets", "digits", "digits"], "given twice"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, message):
    code, text, _ = run("run", "base-to-novel", *options, "--output", tmp_path)
    assert code == 2 and message in text


def test_settings_that_changed_are_refused(tmp_path):
    command = [
        "run",
        "few-shot",
        "--datasets",
        "digits",
        "--methods",
        "mmrl",
        "--shots",
        "1",
        *FAST,
    ]
    assert run(*command, "--output", tmp_path)[0] == 0
    code, text, _ = run(*command, "--set", "lr=0.5", "--output", tmp_path)
    assert code == 1 and "other settings (train.lr: 0.001 there, 0.5 now" in text


def test_all_fifteen_are_in_the_catalog():
    assert len(CATALOG) == 15
