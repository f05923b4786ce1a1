"""Few-shot comparisons on shards of the digits, with clip_benchmark's own evaluation."""

import argparse
import csv
import io
import json
import string
from dataclasses import replace

import pytest
from rich.console import Console

import benchmark_adapters
from benchmark_adapters.commands import few_shot_runs
from benchmark_adapters.commands.export import export
from benchmark_adapters.commands.few_shot_runs import Worker, file_name, plan_runs
from benchmark_adapters.commands.fewshot import add_arguments, compare, main, table
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data import load_data
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.run_spec import Runtime

QUIET = Runtime(quiet=True)
SHORT = {"epochs": 2, "batch_size": 5, "no_flip": True}
THEIR_KEYS = {"dataset", "model", "pretrained", "task", "metrics", "language"}


@pytest.fixture(autouse=True)
def unregistered():
    yield
    benchmark_adapters.unregister()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the data sets "few/digits" (no file of its own name) and "untrainable"."""
    folder, digits = tmp_path_factory.mktemp("shards"), load_data("digits")
    small = replace(digits, train=digits.train[:60], val=digits.val[:80], test=digits.test[:50])
    export(small, folder / "few-digits", quiet=True)
    export(replace(small, train=()), folder / "untrainable", quiet=True)
    return folder


def options(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([*map(str, words)])


def planned(root, **changes):
    given = options("--dataset", "wds/few/digits", "--model", MODEL_NAME, "--shots", 1)
    values = {"dataset_root": f"{root}/{{dataset_cleaned}}", **SHORT, **changes}
    return plan_runs(argparse.Namespace(**{**vars(given), **values}))


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """All four methods, one shot, two seeds: (the results, the folder)."""
    output = tmp_path_factory.mktemp("finished")
    found = compare(planned(root, seeds=[1, 2]), output, runtime=QUIET)
    benchmark_adapters.unregister()
    return found, output


def test_every_run_writes_one_result_of_clip_benchmarks_form(finished):
    results, output = finished
    assert [(r["method"], r["shots"], r["seed"]) for r in results] == [
        ("zeroshot", 0, None),
        *(("linear_probe", 1, seed) for seed in (1, 2)),
        *(("mmrl", 1, seed) for seed in (1, 2)),
        *(("mmrl++", 1, seed) for seed in (1, 2)),
    ]
    assert len(list(output.glob("*.json"))) == 7
    for result in results:
        assert result.keys() >= THEIR_KEYS
        assert result["metrics"].keys() == {"acc1", "acc5", "mean_per_class_recall"}
        assert result["dataset"] == "wds/few/digits" and result["pretrained"] == TAG
        assert result["template"] == "a photo of the digit {}."
    by_method = {result["method"]: result for result in results}
    assert by_method["linear_probe"]["task"] == "linear_probe"
    assert by_method["mmrl++"]["task"] == "zeroshot_classification"
    assert by_method["mmrl++"]["model"] == f"mmrlpp-{MODEL_NAME}"
    assert by_method["zeroshot"]["model"] == by_method["linear_probe"]["model"] == MODEL_NAME
    parameters = [by_method[m]["trainable_parameters"] for m in ("zeroshot", "linear_probe")]
    assert parameters == [0, 10 * 65]
    assert by_method["mmrl"]["train_images"] == by_method["linear_probe"]["train_images"] == 10
    assert (output / by_method["mmrl"]["adapter"]).is_file()
    assert by_method["mmrl"]["epochs"] == 2


def test_a_peer_has_the_same_metrics(root, tmp_path):
    (found,) = compare(planned(root, methods=["tip_adapter"]), tmp_path, runtime=QUIET)
    assert found["metrics"].keys() == {"acc1", "acc5", "mean_per_class_recall"}
    assert (found["trainable_parameters"], found["train_images"]) == (0, 10)


def test_clip_benchmark_and_the_run_itself_agree(finished):
    """The same images, classes and prompt, scored by two programs."""
    results, output = finished
    adapted = [result for result in results if result["method"].startswith("mmrl")]
    for result in adapted:
        folder = (output / result["adapter"]).parent
        ours = json.loads((folder / "results.json").read_text())
        assert 100 * result["metrics"]["acc1"] == pytest.approx(ours["metrics"]["accuracy"])
        zero_shot = results[0]["metrics"]["acc1"]
        assert 100 * zero_shot == pytest.approx(ours["zero_shot"]["accuracy"])
    assert len({json.dumps(result["metrics"]) for result in adapted}) > 1


def test_the_same_command_computes_nothing_again(root, finished, monkeypatch, caplog):
    results, output = finished
    caplog.set_level("INFO", "benchmark_adapters")
    before = {path: path.stat().st_mtime_ns for path in output.glob("*.json")}
    monkeypatch.setattr(Worker, "carry_out", lambda *args: pytest.fail("computed again"))
    assert compare(planned(root, seeds=[2, 1]), output, runtime=QUIET) == results
    assert {path: path.stat().st_mtime_ns for path in output.glob("*.json")} == before
    assert caplog.messages[3] == "[4/7] mmrl, 1 shot, seed 1: done before"


def test_a_lost_result_is_restored_from_the_finished_run(root, finished, monkeypatch):
    results, output = finished
    path = next(output.glob("*_mmrl_1shots_seed2_*.json"))
    content = path.read_bytes()
    path.unlink()
    from open_clip_mmrl.training.trainer import Trainer

    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained again"))
    assert compare(planned(root, seeds=[1, 2]), output, runtime=QUIET) == results
    assert path.read_bytes() == content


def test_build_makes_one_table_of_all_results(finished, tmp_path):
    results, output = finished
    table = tmp_path / "all.csv"
    from benchmark_adapters.cli import main as command

    assert command(["build", str(output), "--output", str(table)]) == 0
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    found = {(row["method"], row["shots"], row["seed"], float(row["acc1"])) for row in rows}
    assert found == {
        (r["method"], str(r["shots"]), str(r["seed"] or ""), r["metrics"]["acc1"]) for r in results
    }


def test_the_table_shows_means_over_seeds(finished):
    results, _ = finished
    console = Console(width=120, file=io.StringIO())
    console.print(table(results))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    shown = {line[0]: line[1:] for line in lines if line}
    for method in ("mmrl", "mmrl++", "linear_probe"):
        mean = sum(r["metrics"]["acc1"] for r in results if r["method"] == method) / 2
        assert shown[method][0] == f"{100 * mean:.1f}" and shown[method][1].startswith("±")
    assert shown["zeroshot"] == [f"{100 * results[0]['metrics']['acc1']:.1f}", "0"]


def test_names_are_safe_and_different_where_anything_is(root):
    def name(method="mmrl", template="a digit {}", **changes):
        (run,) = planned(root, methods=[method], **changes)
        return file_name(run.replace(template=template))

    names = {
        name(),
        name(shots=[2]),
        name(seeds=[2]),
        name("mmrl++"),
        name("linear_probe"),
        name("zeroshot"),
        name(template="the digit {}"),
        name(epochs=3),
        name(precision="amp_bf16"),
        name(dataset_root=f"{root}/few-digits"),
    }
    assert len(names) == 10
    for found in names:
        assert found.startswith(f"few-digits_{MODEL_NAME}_{TAG}_")
        assert set(found) <= {*string.ascii_letters, *string.digits, *"_-."}
    # A model's prefix makes no difference, nor does how other methods are trained.
    assert name(model=f"mmrlpp-{MODEL_NAME}") == name()
    assert name("linear_probe", epochs=3) == name("linear_probe")


def test_names_are_those_of_earlier_versions():
    """So results that were computed before are found again."""
    (run,) = planned("shards", methods=["mmrl++"], seeds=[2], shots=[4])
    found = file_name(run.replace(template="a photo of the digit {}."))
    assert found == "few-digits_ViT-Ti-8-glyphs_printed_mmrlpp_4shots_seed2_80267cf2"


def test_imagenet_has_the_recipe_of_imagenet():
    words = ["--dataset", "imagenet1k", "--model", MODEL_NAME, "--shots", 1, "--lr", 0.1]
    runs = plan_runs(options(*words, "--methods", "mmrl", "mmrl++"))
    train = [(run.train.epochs, run.train.batch_size, run.train.lr) for run in runs]
    assert train == [(5, 32, 0.1)] * 2


def test_the_features_of_test_images_are_computed_once_for_all_probes(root, tmp_path, monkeypatch):
    counts = []
    original = few_shot_runs.frozen_features

    def counted(model, examples, **how):
        counts.append(len(examples))
        return original(model, examples, **how)

    monkeypatch.setattr(few_shot_runs, "frozen_features", counted)
    runs = planned(root, methods=["linear_probe"], shots=[1, 4], seeds=[1, 2])
    found = compare(runs, tmp_path, runtime=QUIET)
    assert counts == [50] and len(found) == 4
    assert {result["regularisation_chosen_on"] for result in found} == {"validation"}


def test_a_data_set_that_clip_benchmark_knows_by_name(tmp_path, write_image):
    for part, count in (("train", 2), ("test", 3)):
        for label in range(7):  # fer2013 is a folder per class
            for i in range(count):
                color = (30 * label, 9 * i, 100)
                write_image(tmp_path / "fer2013" / part / str(label) / f"{i}.png", color)
    root = f"{tmp_path}/{{dataset}}"
    methods = ["zeroshot", "mmrl"]
    runs = planned("", dataset="fer2013", dataset_root=root, methods=methods, shots=[2])
    found = compare(runs, tmp_path / "out", runtime=QUIET)
    (run,) = (tmp_path / "out").glob("runs/*/results.json")
    ours = json.loads(run.read_text())
    shares = [100 * result["metrics"]["acc1"] for result in found]
    expected = [ours["zero_shot"]["accuracy"], ours["metrics"]["accuracy"]]
    assert shares == [pytest.approx(value, abs=1e-3) for value in expected]
    assert found[1]["train_images"] == 14


def test_another_prompt_reaches_clip_benchmark_too(root, tmp_path, finished):
    (found,) = compare(planned(root, methods=["zeroshot"]), tmp_path, "{}", runtime=QUIET)
    assert found["template"] == "{}"
    assert found["metrics"] != finished[0][0]["metrics"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["mmrl", "linearprobe"]}, "method 'linearprobe' is not known.*linear_probe"),
        ({"shots": [4, 0]}, "shots has 0; it takes whole numbers from 1 up"),
        ({"eval_batch_size": 0}, "eval_batch_size has 0; it takes whole numbers from 1 up"),
        ({"seeds": [-1]}, "seed is -1"),
        ({"dataset": "wds/"}, "dataset is 'wds/'; give wds/NAME"),
        ({"dataset_root": "{name}"}, r"--dataset_root '\{name\}' .*\{dataset\}"),
        ({"model": "ViT-B-61"}, "no model 'ViT-B-61'"),
        ({"pretrained": "prinetd"}, "neither a tag.*printed"),
        ({"epochs": 0}, "epochs is 0"),
        ({"precision": "fp8"}, "precision is 'fp8'"),
    ],
)
def test_wrong_values_are_named_before_anything_runs(root, changes, message):
    with pytest.raises(UsageError, match=f"(?s){message}"):
        planned(root, **changes)


def test_a_data_set_without_training_images(root, tmp_path):
    runs = planned(root, dataset="wds/untrainable")
    with pytest.raises(ValueError, match="wds/untrainable has no train images"):
        compare(runs, tmp_path, runtime=QUIET)
    assert list(tmp_path.iterdir()) == []


def test_the_command(root, tmp_path, capsys, caplog):
    caplog.set_level("INFO", "benchmark_adapters")
    words = f"--dataset wds/few-digits --dataset_root {root}/{{dataset}} --model {MODEL_NAME}"
    words += f" --methods mmrl --shots 1 2 --epochs 1 --batch_size 20 --no_flip --output {tmp_path}"
    assert main(options(*words.split(), "--num_workers", 0)) == 0
    assert "[2/2] mmrl, 2 shots, seed 1" in caplog.messages
    assert f"results: {tmp_path} " in capsys.readouterr().out
    shots = sorted(json.loads(p.read_text())["train_images"] for p in tmp_path.glob("*.json"))
    assert shots == [10, 20]
    (run,) = tmp_path.glob("runs/*2shots*/results.json")
    train = json.loads(run.read_text())["train"]
    assert (train["flip"], train["epochs"], train["batch_size"]) == (False, 1, 20)


@pytest.mark.parametrize("word", ["0", "x", "1.5"])
def test_shots_that_are_none_are_named_with_what_is_allowed(word, capsys):
    with pytest.raises(SystemExit):
        options("--dataset", "wds/few/digits", "--shots", word)
    assert f"--shots has '{word}'; give whole numbers from 1 up, or all" in capsys.readouterr().err
