"""Many runs on real parts: resumed, failing, sharing their training, side by side."""

import heapq
import json
import os
import random
import shutil
import time
from concurrent.futures import Future
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest
from helpers.trees import write_tree

from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments import job as job_
from open_clip_mmrl.experiments import runner
from open_clip_mmrl.experiments.engines.workers import Workers
from open_clip_mmrl.experiments.experiment import Experiment
from open_clip_mmrl.experiments.job import Outcome
from open_clip_mmrl.experiments.protocols import plan
from open_clip_mmrl.experiments.resolve import resolve
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.experiments.runner import run_all, unfinished
from open_clip_mmrl.hub import base_weights
from open_clip_mmrl.report.load.collect import collect
from open_clip_mmrl.training.trainer import Trainer
from open_clip_mmrl.utils import folder_lock

FAST = {"epochs": 1, "batch_size": 16, "start_layer": 6, "rep_dim": 8}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two small data sets of four classes."""
    root = tmp_path_factory.mktemp("root")
    for name in ("dtd", "eurosat"):
        write_tree(root, name)
    return root


def planned(root, protocol="base-to-novel", **changes):
    values = {
        "model": MODEL_NAME,
        "pretrained": None,
        "datasets": ["eurosat"],
        "seeds": (1,),
        "shots": (2,),
        "overrides": FAST,
        "data_root": str(root),
    }
    return plan(Experiment(protocol=protocol, **{**values, **changes}))


def go(items, output, jobs=1):
    return run_all(items, output, Runtime(device="cpu", quiet=True), Workers(jobs=jobs))


def lines_of(caplog):
    return [text for text in caplog.messages if text.startswith("[")]


def results(output, item):
    return json.loads((output / item.folder / "results.json").read_text())


def test_every_method_of_base_to_novel(root, tmp_path, caplog):
    caplog.set_level("INFO")
    items = planned(root)
    outcomes = go(items, tmp_path)
    lines = lines_of(caplog)
    assert [o.error for o in outcomes] == [None] * 4 and not unfinished(items, tmp_path)
    assert "[1/4] base-to-novel/eurosat/zeroshot: base " in lines[0] and "left)" in lines[0]
    zeroshot, probe, mmrl, _ = (results(tmp_path, item) for item in items)
    assert zeroshot["metrics"] == mmrl["zero_shot"] == probe["zero_shot"]
    assert zeroshot["trainable_parameters"] == 0 and zeroshot["method"] == "zeroshot"
    assert probe["metrics"]["novel"] is None and probe["metrics"]["base"] > 50
    assert probe["trainable_parameters"] == 2 * 65 and probe["regularisation"]["C"] > 0
    assert mmrl["dataset"] == "eurosat" and mmrl["settings_source"] == "fixed"
    assert mmrl["sizes"] == {
        "classes": 4, "train": 16, "val": 8, "test": 12, "paper_split": False,
    }  # fmt: skip


def test_baselines_are_not_refused_when_seeds_shots_or_settings_change(root, tmp_path):
    methods = ["zeroshot", "linear_probe"]
    go(planned(root, methods=methods), tmp_path)
    changes = {"seeds": (2, 1), "shots": (1, 2), "settings": "validation"}
    outcomes = go(planned(root, methods=methods, **changes), tmp_path)
    assert [o.error for o in outcomes] == [None] * 5


def test_few_shot_linear_probe_knows_all_classes(root, tmp_path):
    (item,) = planned(root, "few-shot", methods=["linear_probe"], shots=(4,))
    go([item], tmp_path)
    found = results(tmp_path, item)
    assert found["metrics"]["accuracy"] > found["zero_shot"]["accuracy"]
    assert len(found["per_class"]["all"]) == 4


def test_finished_runs_are_not_repeated(root, tmp_path, monkeypatch):
    items = planned(root, methods=["mmrl"])
    go(items, tmp_path)
    before = results(tmp_path, items[0])
    checkpoint = tmp_path / items[0].folder / "checkpoint.pt"
    checkpoint.write_text("left by a run that was killed in its last moment")
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained again"))
    assert go(items, tmp_path)[0].metrics == before["metrics"]
    assert not checkpoint.exists()


def test_finished_runs_do_not_count_in_the_time_left(root, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    items = planned(root, methods=["zeroshot", "mmrl", "mmrl++"])
    go(items[:1], tmp_path)
    clock = iter(range(0, 1000, 60))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    done = SimpleNamespace(metrics={"base": 1.0})
    monkeypatch.setattr(job_, "execute", lambda *_, **__: done)
    caplog.clear()
    go(items, tmp_path)
    # The clock is looked at once at the start, then three times for every run.
    lines = lines_of(caplog)
    assert "6 min left" in lines[0] and "6 min left" in lines[1]  # two runs; then one of two


def test_one_failing_run_does_not_stop_the_others(root, tmp_path, caplog):
    items = planned(root, datasets=["folder:nowhere", "eurosat"], methods=["mmrl"])
    outcomes = go(items, tmp_path)
    assert [bool(o.error) for o in outcomes] == [True, False]
    (line,) = lines_of(caplog)  # a warning: shown where the others are not
    assert "FAILED: " in line and "nowhere" in line
    assert [str(i.folder) for i in unfinished(items, tmp_path)] == [str(items[0].folder)]


def test_weights_are_read_once_for_all_runs_and_change_no_bit(root, tmp_path, monkeypatch):
    read, read_state_dict = [], base_weights.read_state_dict
    monkeypatch.setattr(
        base_weights, "read_state_dict", lambda *a: read.append(a) or read_state_dict(*a)
    )
    items = planned(root, methods=["mmrl", "mmrl++"])
    assert [o.error for o in go(items, tmp_path / "together")] == [None, None] and len(read) == 1
    for item in items:
        go([item], tmp_path / "apart")
        one, other = (tmp_path / name / item.folder for name in ("together", "apart"))
        name = "adapter.safetensors"
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert len(read) == 3  # given back with the end of a command


def test_equal_training_is_done_once(root, tmp_path, monkeypatch):
    trained = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self: trained.append(1) or fit(self))
    items = planned(root, "ablation", sweeps=["variant", "regularizer"])
    outcomes = go(items, tmp_path)
    assert not [o.error for o in outcomes if o.error]
    assert len(trained) == 5 + 2  # full, L, V, RS, dagger; l1, mse (cosine is full)
    by_value = {i.run.ablation["value"]: results(tmp_path, i) for i in items}
    full, ds1, ds2 = (by_value[v] for v in ("full", "w/o DS1", "w/o DS2"))
    assert ds1["trained_in"] == "../../variant-full/2-shots-seed1"
    assert ds1["metrics"]["novel"] == full["metrics"]["novel"]
    assert ds2["metrics"]["base"] == full["metrics"]["base"]
    assert by_value["cosine"]["metrics"] == full["metrics"]
    assert by_value["w/o V"]["calibration"] != full["calibration"]


def test_a_second_command_on_the_same_runs_begins_nothing(root, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "_SECONDS", 0)
    items = planned(root, methods=["zeroshot", "mmrl"])
    execute, refused = job_.execute, []

    def again(*args, **kwargs):
        with pytest.raises(UsageError, match=f"process {os.getpid()} .*base-to-novel/eurosat") as e:
            go(items, tmp_path)
        refused.append(e)
        others = planned(root, datasets=["dtd"], methods=["zeroshot"])
        monkeypatch.setattr(job_, "execute", execute)
        assert go(others, tmp_path)[0].error is None
        monkeypatch.setattr(job_, "execute", again)
        return execute(*args, **kwargs)

    monkeypatch.setattr(job_, "execute", again)
    assert [o.error for o in go(items, tmp_path)] == [None, None] and len(refused) == 2
    assert not unfinished(items, tmp_path)


def test_training_on_other_images_is_not_shared(root, tmp_path):
    """As where data were changed after the run that shares its training had been finished."""
    items = planned(root, "ablation", sweeps=["variant"], values=["full", "w/o DS1"])
    go(items[:1], tmp_path)
    path = tmp_path / items[0].folder / "run.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "train_images": "others"}))
    go(items[1:], tmp_path)
    assert "trained_in" not in results(tmp_path, items[1])


def test_transfer_is_trained_once_and_tested_on_every_target_that_is_there(root, tmp_path, caplog):
    (item,) = planned(
        root, "cross-dataset", source="eurosat", datasets=["dtd", "ucf101"], methods=["mmrl"]
    )
    assert go([item], tmp_path)[0].error is None
    found = results(tmp_path, item)
    assert found["targets"]["dtd"].keys() == {"accuracy", "zero_shot", "beta", "sizes"}
    assert "no folder" in found["targets"]["ucf101"]["missing"]
    assert "ucf101 is left out" in caplog.text
    assert (tmp_path / item.folder / "targets" / "dtd.json").is_file()


def test_a_target_that_has_come_since_is_tested_without_training(root, tmp_path, monkeypatch):
    for name in ("dtd", "eurosat"):
        (tmp_path / name).symlink_to(root / name)
    (item,) = planned(
        tmp_path, "cross-dataset", source="eurosat", datasets=["dtd", "ucf101"], methods=["mmrl"]
    )
    go([item], tmp_path / "out")
    before = results(tmp_path / "out", item)
    write_tree(tmp_path, "ucf101")
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained again"))
    assert go([item], tmp_path / "out")[0].error is None
    found = results(tmp_path / "out", item)
    assert found["targets"]["ucf101"]["sizes"]["paper_split"] is False
    assert found["targets"]["dtd"] == before["targets"]["dtd"]
    assert found["metrics"] == before["metrics"]


@pytest.fixture(scope="module")
def done(root, tmp_path_factory):
    """Two finished runs of few-shot, and their folder."""
    items = planned(root, "few-shot", methods=["mmrl"], seeds=(1, 2))
    folder = tmp_path_factory.mktemp("done")
    assert [o.error for o in go(items, folder)] == [None, None]
    return items, folder


def damage(folder, name, content):
    path = folder / name
    path.unlink(missing_ok=True)
    path.mkdir() if content is None else path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("adapter.safetensors", b""),
        ("adapter.safetensors", b"\xff" * 100),
        ("adapter.safetensors", None),
        ("results.json", b"{}"),
        ("results.json", b"[]"),
        ("results.json", b'{"method": "mm'),
        ("results.json", b"[" * 100_000),
        ("results.json", None),
        ("run.json", b"[" * 100_000),
        ("run.json", None),
    ],
)
def test_a_damaged_finished_run_is_named_and_the_others_are_read(done, tmp_path, name, content):
    items, finished = done
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / items[0].folder, name, content)
    first, second = go(items, tmp_path)
    assert name in first.error and second.error is None
    if name != "run.json":
        found = collect([tmp_path])
        assert len(found.runs) == 1 and any(name in note for note in found.notes)


@pytest.mark.parametrize("content", [b"{}", b"[1]", b'[{"settings": {}}]', b"[" * 100_000, None])
def test_a_damaged_selection_is_named(root, tmp_path, content):
    items = planned(root, methods=["mmrl"], settings="validation")
    folder = tmp_path / items[0].folder
    folder.mkdir(parents=True)
    job = resolve(items[0].run, folder, Runtime(device="cpu", quiet=True))
    settings = {**job.run.to_dict(), "train_images": job.digests[0]}
    (folder / "run.json").write_text(json.dumps(settings))
    damage(folder, "selection.json", content)
    (outcome,) = go(items, tmp_path)
    assert "selection.json" in outcome.error and "adapter" not in outcome.error


def test_a_log_that_is_no_text_does_not_stop_a_run(root, tmp_path):
    items = planned(root, methods=["mmrl"], overrides={**FAST, "epochs": 2})
    folder = tmp_path / items[0].folder
    assert go(items, tmp_path)[0].error is None
    (folder / "results.json").unlink()
    (folder / "log.jsonl").write_bytes(b"\xff\xfe\n" + b"[" * 100_000 + b"\n")
    assert go(items, tmp_path)[0].error is None
    rows = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(row)["epoch"] for row in rows] == [0, 1]


def test_what_nobody_foresaw_ends_one_run_only(root, tmp_path, monkeypatch):
    items = planned(root, methods=["zeroshot", "mmrl"])
    execute = job_.execute

    def fail_first(run, *rest, **more):
        if run.method == "zeroshot":
            raise KeyError("unforeseen")
        return execute(run, *rest, **more)

    monkeypatch.setattr(job_, "execute", fail_first)
    first, second = go(items, tmp_path)
    assert first.error == "KeyError: 'unforeseen'" and second.error is None


class Cluster:
    """A simulated cluster: `workers` machines in virtual time, of which some fail."""

    def __init__(self, workers, failures):
        self.free, self.events = [0.0] * workers, []
        self.failures, self.random = failures, random.Random(0)
        self.now = self.work = 0.0
        self.count = 0

    def submit(self, jobs):
        return [self.begin(job) for job in jobs]

    def begin(self, job):
        taken, fails = self.random.uniform(1, 3), self.random.random() < self.failures
        taken *= self.random.random() if fails else 1  # lost in between; it begins again
        start = max(heapq.heappop(self.free), self.now)
        heapq.heappush(self.free, start + taken)
        self.work, self.count = self.work + taken, self.count + 1
        future, outcome = Future(), Outcome(job.planned, taken, metrics={"accuracy": 1.0})
        if fails:
            outcome = job.lost("the node is gone")
        heapq.heappush(self.events, (start + taken, self.count, future, outcome))
        return future

    def wait(self, waiting, return_when):
        self.now, _, future, outcome = heapq.heappop(self.events)
        future.set_result(outcome)
        return {future}, None


def test_a_thousand_runs_over_64_workers_that_fail(monkeypatch, tmp_path):
    """The makespan stays near the bound: all work over all workers, plus the longest run."""
    cluster = Cluster(64, failures=0.1)
    monkeypatch.setattr(runner, "wait", cluster.wait)
    items = [SimpleNamespace(folder=PurePosixPath(f"run-{n}")) for n in range(1000)]
    go_on = runner._submitted(cluster.submit, tmp_path, Runtime(), None, 9, items)
    outcomes = list(go_on)
    assert sorted(o.planned.folder for o in outcomes) == sorted(item.folder for item in items)
    assert not [o for o in outcomes if o.error] and cluster.count > 1050
    assert cluster.now < cluster.work / 64 + 2 * 3


def test_retries_end_and_a_wrong_input_is_not_tried_again(root, tmp_path, monkeypatch):
    items, tries = planned(root, methods=["zeroshot", "mmrl"]), []

    def fail(run, *_, **__):
        tries.append(run.method)
        raise OSError("gone") if run.method == "zeroshot" else ValueError("wrong")

    monkeypatch.setattr(job_, "execute", fail)
    outcomes = run_all(items, tmp_path, Runtime(quiet=True), Workers(retries=2))
    assert [o.error for o in outcomes] == ["gone", "wrong"] and tries == ["zeroshot"] * 3 + ["mmrl"]
