"""`open-clip-mmrl run` on the fifteen layouts, small and generated, with the shipped tiny CLIP."""

import json
import shlex

import pytest
from helpers import made_results
from helpers.cli import run
from helpers.runs import write_folder
from helpers.trees import write_all

from open_clip_mmrl.cli.dry_run import _of_workers
from open_clip_mmrl.data.coop.catalog import CATALOG, names
from open_clip_mmrl.experiments.engines.workers import Workers
from open_clip_mmrl.report import write_report
from open_clip_mmrl.training.trainer import Trainer

FAST = "--set epochs=2 --set batch_size=8 --set start_layer=6 --set rep_dim=8"
FAST = shlex.split(f"{FAST} --device cpu --seeds 1")
COMMANDS = {
    "base-to-novel": "--methods zeroshot mmrl --shots 2",
    "few-shot": "--datasets dtd,eurosat --shots 1 2",
    "cross-dataset": "--methods zeroshot mmrl++ --shots 2 --settings paper",
    "domain-generalization": "--methods zeroshot linear_probe mmrl++ --shots 2 --settings paper",
    "ablation": "--datasets dtd --sweep alpha --values 0.2 0.9 --shots 2",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """All fifteen data sets."""
    root = tmp_path_factory.mktemp("root")
    write_all(root)
    return root


@pytest.fixture(scope="module")
def done(root, tmp_path_factory):
    """Every protocol, carried out: the folder, and what was printed."""
    folder, texts = tmp_path_factory.mktemp("done"), {}
    for protocol, options in COMMANDS.items():
        command = ["run", protocol, "--data-root", root, *shlex.split(options), *FAST]
        code, texts[protocol], _ = run(*command, "--output", folder)
        assert code == 0, texts[protocol]
    return folder, texts


def results(folder):
    return {
        str(path.parent.relative_to(folder)): json.loads(path.read_text())
        for path in sorted(folder.rglob("results.json"))
    }


def test_base_to_novel_of_the_eleven(done):
    folder, texts = done
    found = results(folder / "base-to-novel")
    assert len(found) == 22 and "[22/22]" in texts["base-to-novel"]
    assert {r["dataset"] for r in found.values()} == set(names("few-shot"))
    assert all(r["sizes"]["paper_split"] is False for r in found.values())


def test_few_shot_with_every_method(done):
    found = results(done[0] / "few-shot")
    assert len(found) == 2 * (1 + 2 * 3)
    assert "dtd/linear_probe/1-shots-seed1" in found


@pytest.mark.parametrize(
    ("protocol", "targets"),
    [
        ("cross-dataset", [name for name in names("few-shot") if name != "imagenet"]),
        ("domain-generalization", names("domain shift")),
    ],
)
def test_transfer_to_every_target(done, protocol, targets):
    found = results(done[0] / protocol)
    assert len(found) == {"cross-dataset": 2, "domain-generalization": 3}[protocol]
    for result in found.values():
        assert list(result["targets"]) == targets
        assert all(0 <= t["accuracy"] <= 100 for t in result["targets"].values())
    trained = found["imagenet/mmrlpp/2-shots-seed1"]
    betas = {name: t["beta"] for name, t in trained["targets"].items()}
    assert betas.get("stanford_cars", 0.3) == 0.3 and betas.get("imagenet_a", 0.8) == 0.8


def test_an_ablation_in_one_line(done):
    points = [r["ablation"]["value"] for r in results(done[0] / "ablation").values()]
    assert sorted(points) == [0.2, 0.9]


def test_the_report_takes_every_run(done, tmp_path):
    code, text, _ = run("report", done[0], "--output", tmp_path)
    assert code == 0 and f"{len(results(done[0]))} runs on 15 data sets" in text
    assert "Note:" not in text  # nothing was left out
    names = {path.stem for path in (tmp_path / "tables").iterdir()}
    assert names > {"base-to-novel-ours", "few-shot", "cross-dataset", "domain-generalization"}
    assert "ablation-alpha" in names and "base-to-novel-generalized" in names
    assert "Not the paper's split" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("folder", "made"),
    [
        ("base-to-novel/dtd/zeroshot", made_results.base_to_novel("zeroshot", "dtd", 1)),
        (
            "base-to-novel/dtd/mmrl/2-shots-seed1",
            made_results.base_to_novel("mmrl", "dtd", 1),
        ),
        (
            "few-shot/dtd/linear_probe/2-shots-seed1",
            made_results.few_shot("linear_probe", "dtd", 2, 1),
        ),
        ("few-shot/dtd/mmrl/2-shots-seed1", made_results.few_shot("mmrl", "dtd", 2, 1)),
        (
            "cross-dataset/imagenet/mmrlpp/2-shots-seed1",
            made_results.transfer("mmrl++", "cross-dataset", 1),
        ),
        (
            "ablation/dtd/mmrl/alpha-0.2/2-shots-seed1",
            made_results.ablation("alpha", 0.2, "dtd", 1),
        ),
    ],
)
def test_made_up_results_have_the_keys_of_real_ones(done, folder, made):
    """So that tests of the report, which are on made-up results, cannot pass on others' keys."""

    def not_in(real, made, path=""):
        for key, value in made.items():
            if path.startswith(".per_class."):
                continue  # names of classes
            if key not in real:
                yield f"{path}.{key}"
            elif isinstance(value, dict):
                yield from not_in(real[key], value, f"{path}.{key}")
            elif isinstance(value, list):
                yield from not_in(real[key][0], value[0], f"{path}.{key}")

    real = json.loads((done[0] / folder / "results.json").read_text())
    assert list(not_in(real, made)) == []


def tables(folder):
    """The tables of the report, except those of times."""
    write_report([folder])
    found = {path.stem: path.read_text() for path in (folder / "report" / "tables").iterdir()}
    assert found.pop("cost") and found.pop("environment")
    return found


def test_killed_and_resumed_gives_the_same_report(root, tmp_path, monkeypatch):
    command = ["run", "base-to-novel", "--data-root", root, *FAST, "--methods", "zeroshot", "mmrl"]
    command += ["--shots", 2, "--datasets", "dtd", "fgvc_aircraft", "imagenet", "--output"]
    assert run(*command, tmp_path / "whole")[0] == 0
    end_of_epoch, seen = Trainer._end_of_epoch, []

    def stop(self, epoch, *args):
        end_of_epoch(self, epoch, *args)
        seen.append(epoch)
        if len(seen) == 3:  # after the first epoch of the second training
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_end_of_epoch", stop)
    code, text, _ = run(*command, tmp_path / "broken")
    assert code == 130 and "The same command resumes" in text
    assert len(results(tmp_path / "broken")) == 3
    monkeypatch.undo()
    assert run(*command, tmp_path / "broken")[0] == 0
    assert tables(tmp_path / "broken") == tables(tmp_path / "whole")


def test_a_dry_run_lists_and_computes_nothing(root, tmp_path):
    command = ["run", "base-to-novel", "--data-root", root, "--datasets", "dtd", "digits", *FAST]
    command += ["--shots", "2", "--output", tmp_path]
    cluster = ["--engine", "slurm", "--slurm", "partition=gpu", "--jobs", 3]
    code, text, _ = run(*command, *cluster, "--dry-run")
    assert code == 0 and "base-to-novel/dtd/mmrl/2-shots-seed1: about 1 s" in text
    assert "8 runs, 0 finished; the rest about" in text and not list(tmp_path.iterdir())
    assert "slurm: arrays of 8 with partition=gpu, 3 at a time: about" in text
    run(*command, "--methods", "zeroshot")
    code, text, _ = run(*command, "--dry-run")
    assert "base-to-novel/dtd/zeroshot: finished" in text and "2 finished" in text


@pytest.mark.parametrize(
    ("workers", "line"),
    [
        (Workers(), "local: 3, then 1, 1 at a time: about 8 s."),
        (Workers(jobs=2), "local: 3, then 1, 2 at a time: about 6 s."),
        (Workers("ray"), "ray: 3, then 1 in workers with num_cpus=1: at least 5 s, with room"),
        (
            Workers("slurm", 2, options={"mem_gb": 8}),
            "slurm: arrays of 3, then 1 with mem_gb=8, 2 at a time: about 6 s.",
        ),
    ],
)
def test_a_dry_run_tells_what_workers_make_of_it(workers, line):
    (text,) = _of_workers([[2, 2, 1], [3]], workers)
    assert text.startswith(line)


def test_missing_data_fail_alone_and_are_listed_at_the_end(root, tmp_path):
    command = ["run", "base-to-novel", "--datasets", "dtd", "digits", "--methods", "zeroshot"]
    code, text, _ = run(*command, *FAST, "--output", tmp_path)
    assert code == 1 and "1 of 2 runs failed" in text and "needs data_root" in text
    assert len(results(tmp_path)) == 1
    code, text, _ = run(*command, *FAST, "--output", tmp_path, "--dry-run")
    assert code == 1 and "coop:dtd cannot be used" in text
    assert "dtd/zeroshot: its data cannot be used" in text


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
    command = shlex.split("run few-shot --datasets digits --methods mmrl --shots 1") + FAST
    assert run(*command, "--output", tmp_path)[0] == 0
    code, text, _ = run(*command, "--set", "lr=0.5", "--output", tmp_path)
    assert code == 1 and "other settings (train.lr: 0.001 there, 0.5 now" in text


def test_all_fifteen_are_in_the_catalog():
    assert len(CATALOG) == 15


@pytest.fixture
def three(tmp_path):
    """A data set of three classes: the novel half is a single one."""
    return write_folder(tmp_path / "three", {"one": 2, "two": 2, "three": 2})


@pytest.mark.parametrize("methods", ["zeroshot", "linear_probe", "mmrl"])
def test_base_to_novel_of_three_classes_is_refused(three, tmp_path, methods):
    command = ["run", "base-to-novel", "--datasets", three, "--methods", methods, *FAST]
    for options in ([], ["--dry-run"]):
        code, text, _ = run(*command, "--output", tmp_path / "out", *options)
        assert code == 1 and "of 3 classes, 1 is novel" in text, text
    assert not results(tmp_path / "out")
    code, text, _ = run("train", "--data", three, "--classes", "base", "--output", tmp_path / "t")
    assert code == 1 and "need four" in text


def test_dry_run_names_a_damaged_result(tmp_path):
    command = ["run", "few-shot", "--datasets", "digits", "--methods", "zeroshot", *FAST]
    command += ["--output", tmp_path]
    assert run(*command)[0] == 0
    (tmp_path / "few-shot" / "digits" / "zeroshot" / "results.json").write_text("[]")
    code, text, _ = run(*command, "--dry-run")
    assert code == 0 and "zeroshot: damaged (" in text and "results.json: holds a list" in text
