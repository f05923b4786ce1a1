"""The commands in process: what is handed over, exit codes, many runs, several processes."""

import multiprocessing
import shlex
import sys
from contextlib import nullcontext

import open_clip
import pytest
from clip_benchmark import cli
from helpers.shard_sets import (
    DIGITS,
    OURS,
    eval_command,
    results,
    retrieval,
    single_label,
    write_adapter,
    write_split,
)

from benchmark_adapters.cli import EXAMPLES, PROG, main, parser_of
from benchmark_adapters.cli import OURS as OUR_COMMANDS
from benchmark_adapters.repairs import wds_samples
from open_clip_mmrl.assets import MODEL_NAME, TAG


@pytest.fixture(autouse=True)
def _undone(registered):
    """The commands register; nothing of it stays for other tests."""
    yield
    wds_samples.set_skip_broken(False)


def error(capsys):
    """The last line on standard error, which has to be the error."""
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_help_lists_all_commands(argv, capsys):
    with pytest.raises(SystemExit, match="0") if argv else nullcontext():
        main(argv)
    shown = capsys.readouterr().out
    assert all(f"\n    {name} " in shown for name in ("eval", "build", "fewshot", "export"))


def test_an_unknown_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate"])
    assert stop.value.code == 2 and "invalid choice: 'evaluate'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["eval", "--help"], ["--skip_broken", "mmrl_auto", "--fewshot_k", f"{PROG} eval"]),
        (["build", "--help"], ["--output", "CSV output file"]),
        (["fewshot", "--help"], [f"{PROG} fewshot"]),
        (["export", "--help"], [f"{PROG} export", "--output"]),
    ],
)
def test_every_command_has_help(argv, words, capsys):
    before = sys.argv
    with pytest.raises(SystemExit) as stop:
        main(argv)
    shown = capsys.readouterr().out
    assert stop.value.code == 0 and all(word in shown for word in (*words, "Example:"))
    assert sys.argv is before


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_understood(name, monkeypatch):
    assert all(len(line) <= 80 for line in f"  {PROG} {EXAMPLES[name]}".split("\n"))
    command, *words = shlex.split(EXAMPLES[name].replace("\\\n", ""))
    if command in OUR_COMMANDS:
        assert parser_of(command).parse_args(words)
        return
    monkeypatch.setattr(sys, "argv", [PROG, command, *words])
    assert cli.get_parser_args()


def test_own_commands_are_called_with_their_arguments(tmp_path, adapter, capsys):
    """Exported digits are data for eval; a wrong name is a usage error."""
    assert main(["export", "--data", "digits", "--output", str(tmp_path / "d"), "--quiet"]) == 0
    command = eval_command(tmp_path / "d", "wds/d", tmp_path / "out", "--pretrained", adapter)
    assert main([*command, "--split", "val"]) == 0
    (found,) = results(tmp_path / "out").values()
    assert found["metrics"]["acc1"] > 0
    assert main(["export", "--data", "nothing", "--output", str(tmp_path / "n")]) == 2
    assert "nothing" in error(capsys)


def test_clip_benchmarks_own_models_and_tables(tmp_path, digits, capsys):
    output = tmp_path / "out"
    command = eval_command(digits, "wds/digits", output, "--model", MODEL_NAME)
    assert main([*command, "--pretrained", TAG]) == 0
    name = f"digits_{TAG}_{MODEL_NAME}_zeroshot_classification.json"
    assert list(results(output)) == [name]
    assert main(["build", str(output), "--output", str(tmp_path / "all.csv")]) == 0
    header, line = (tmp_path / "all.csv").read_text().splitlines()
    assert header.startswith("model_fullname,model,pretrained,dataset,task,acc1,acc5,")
    assert line.startswith(f"{MODEL_NAME} {TAG},{MODEL_NAME},{TAG},wds/digits,zeroshot_class")
    assert main(["build", str(digits / "classnames.txt"), "--output", str(tmp_path / "x")]) == 1
    assert "there are no results in" in error(capsys)


def test_the_adapter_names_the_model(tmp_path, digits, adapter):
    """--model then has clip_benchmark's default, which is not what is evaluated."""
    command = eval_command(digits, "wds/digits", tmp_path / "out", "--pretrained", adapter)
    place = command.index("--model")
    del command[place : place + 2]
    assert main([*command, "--model_type", "mmrl"]) == 0
    ((name, found),) = results(tmp_path / "out").items()
    assert found["model"] == OURS and OURS in name and found["model_type"] == "mmrl"


def test_adapters_of_one_name_and_skipping(tmp_path, digits, capsys):
    paths = []
    for seed in (1, 2):
        folder = tmp_path / str(seed) / "run"
        paths.append(str(write_adapter(folder / "adapter.safetensors", seed=seed)))
    command = eval_command(digits, "wds/digits", tmp_path / "out", "--pretrained", *paths)
    command.remove("--quiet")
    assert main([*command, "--skip_existing"]) == 0
    first = results(tmp_path / "out")
    assert [found["pretrained"] for found in first.values()] in (paths, paths[::-1])
    shown = capsys.readouterr().out
    assert "Skip" not in shown and all(f"Results: {tmp_path}/out/{name}" in shown for name in first)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert main([*command, "--skip_existing"]) == 0
    assert capsys.readouterr().out.count(", exists already.") == 2
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert main(command) == 0  # without: evaluated again, with the same results
    assert results(tmp_path / "out") == first


def test_finished_runs_stay_and_the_failing_one_is_named(tmp_path, digits, adapter, capsys):
    (tmp_path / "digits").symlink_to(digits)
    root, datasets = tmp_path / "{dataset}", ["wds/digits", "wds/gone"]
    command = eval_command(root, datasets[0], tmp_path / "out", "--pretrained", adapter)
    assert main([*command, "--dataset", *datasets]) == 2
    shown = error(capsys)
    assert (
        shown.startswith(f"wds/gone with {OURS}, {adapter}: ") and str(tmp_path / "gone") in shown
    )
    (found,) = results(tmp_path / "out").values()
    assert found["dataset"] == "wds/digits"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--task", "captioning"], 2, f"captioning needs a model that generates text; {OURS} does"),
        (
            ["--task", "zeroshot_retrieval"],
            2,
            "does not fit a classification data set: choose zero",
        ),
        (["--model_type", "mmrl", "--model", MODEL_NAME, "--pretrained", TAG], 2, "or an adapter"),
        (["--pretrained", "gone.safetensors"], 2, "neither a tag of mmrl-ViT-Ti-8-glyphs nor a"),
        (["--batch_size", "0"], 2, "--batch_size is 0; give 1 or more"),
        (["--model", "ViT-X"], 1, "ViT-X"),
        (["--model", MODEL_NAME], 1, f"is an adapter, which '{MODEL_NAME}' cannot hold: create"),
        (["--dataset", "imagenet9"], 1, "Unsupported dataset: imagenet9"),
        (["--dataset", "cifar10", "--split", "val"], 1, "Only `train` and `test` split available"),
        (["--dataset_root", "{name}"], 2, "cannot be filled in ('name'): places are {dataset}"),
        (["--output", "{name}.json"], 2, "places are {model}, {pretrained}"),
        (["--custom_classname_file", "gone.json"], 1, "gone.json' does not exist"),
    ],
)
def test_errors_are_one_line(tmp_path, digits, adapter, capsys, options, code, words):
    command = eval_command(digits, "wds/digits", tmp_path / "out", "--pretrained", adapter)
    assert main([*command, *options]) == code
    shown = capsys.readouterr().err
    assert "warning: the tokens" not in shown
    last = shown.strip().splitlines()[-1]
    assert last.startswith("error: ") and words in last
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_clip_benchmarks_own_usage_errors_exit_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["eval", "--nothing"])
    assert stop.value.code == 2 and "unrecognized arguments: --nothing" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["zeroshot_classification", "linear_probe"])
def test_errors_of_workers_are_shown_without_traceback(tmp_path, adapter, capsys, task):
    """What a DataLoader's worker raises comes with its traceback as the message."""
    root = single_label(tmp_path / "digits", 4)
    (root / "test" / "0.tar").unlink()
    write_split(root / "bad", "test", [{"png": b"broken", "cls": "0"}])
    (root / "bad" / "test" / "0.tar").rename(root / "test" / "0.tar")
    command = eval_command(root, "wds/digits", tmp_path / "out", "--pretrained", adapter)
    command += ["--task", task, "--feature_root", str(tmp_path / "features")]
    assert main([*command, "--num_workers", "2"]) == 1
    assert not multiprocessing.active_children(), "left to gc, it waits 5 s for each"
    shown = error(capsys)
    assert shown.startswith(f"wds/digits with {OURS}, {adapter}: ") and "0.tar" in shown
    assert "Traceback" not in shown and "worker process" not in shown


def test_skip_broken_skips_and_counts_images(tmp_path, adapter, capsys):
    root = tmp_path / "digits"
    good = single_label(root, 4)
    write_split(root / "bad", "test", [{"png": b"broken", "cls": "0"}] * 2)
    (root / "bad" / "test" / "0.tar").rename(good / "test" / "1.tar")
    (good / "test" / "nshards.txt").write_text("2")
    command = eval_command(root, "wds/digits", tmp_path / "out", "--pretrained", adapter)
    assert main(command) == 1
    assert "--skip_broken" in error(capsys)
    assert main([*command, "--skip_broken"]) == 0
    assert "warning: wds/digits: 2 broken images were left out" in capsys.readouterr().err
    (found,) = results(tmp_path / "out").values()
    assert found["skipped_images"] == 2
    assert main(command) == 1, "the next call is strict again"
    capsys.readouterr()
    (good / "test" / "1.tar").rename(good / "test" / "0.tar")
    (good / "test" / "nshards.txt").write_text("1")
    assert main([*command, "--skip_broken"]) == 1
    shown = capsys.readouterr().err
    assert "2 broken images were left out" in shown and "there are no images to classify" in shown


def test_skip_load_is_a_warning(tmp_path, digits, adapter, capsys):
    command = eval_command(digits, "wds/digits", tmp_path / "out", "--pretrained", adapter)
    assert main([*command, "--skip_load"]) == 0
    assert "warning: --skip_load has no effect" in capsys.readouterr().err
    assert len(results(tmp_path / "out")) == 1


def test_random_tokens_are_a_warning_under_the_default_type(tmp_path, digits, capsys):
    command = eval_command(digits, "wds/digits", tmp_path / "out", "--pretrained", TAG)
    assert main(command) == 0
    assert f"warning: the tokens of {OURS} are random" in capsys.readouterr().err


def test_a_cache_folder_is_made(tmp_path, digits, adapter):
    command = eval_command(digits, "wds/digits", tmp_path / "out", "--pretrained", adapter)
    assert main([*command, "--wds_cache_dir", str(tmp_path / "new" / "cache")]) == 0
    assert (tmp_path / "new" / "cache").is_dir()


def test_processes_share_the_runs(tmp_path, digits, adapter, monkeypatch):
    """--distributed under torchrun, which sets these variables: each run once, in one of them."""
    retrieval(tmp_path / "captions")
    (tmp_path / "digits").symlink_to(digits)
    command = eval_command(tmp_path / "{dataset}", "wds/digits", tmp_path / "out")
    command += ["--pretrained", str(adapter), TAG, "--dataset", "wds/digits", "wds/captions"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert main([*command, "--distributed"]) == 0
        done.append(set(results(tmp_path / "out")))
    assert len(done[0]) == 2 and len(done[1]) == 4 and done[0] < done[1]


def test_users_of_clip_benchmark_itself(tmp_path, digits, adapter, monkeypatch):
    """`register()` is all it takes; its own `main` is called."""
    from clip_benchmark import cli

    command = eval_command(digits, "wds/digits", tmp_path / "out", "--pretrained", adapter)
    monkeypatch.setattr(sys, "argv", ["clip_benchmark", *command])
    cli.main()
    (found,) = results(tmp_path / "out").values()
    images = open_clip.create_model(OURS, str(adapter)).visual.image_size
    assert found["model"] == OURS and len(DIGITS) == 10 and images == (32, 32)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("eval", "Stopped. Finished results are kept"),
        ("fewshot", "Stopped. The same command resumes from the last fin"),
    ],
)
def test_ctrl_c_is_one_line_and_130(monkeypatch, capsys, command, line):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark_adapters.cli._run", interrupted)
    assert main([command]) == 130
    output, error = capsys.readouterr()
    assert not output and error.startswith(line) and error.count("\n") == 1


def test_the_model_that_runs_is_the_one_that_is_named(tmp_path, digits, adapter, capsys):
    """Not clip_benchmark's default of --model, which an adapter file replaces."""
    command = eval_command(digits, "wds/digits", tmp_path / "out", "--pretrained", adapter)
    place = command.index("--model")
    del command[place : place + 2]
    command = [*command, "--model_type", "mmrl"]
    command.remove("--quiet")
    assert main(command) == 0
    shown = capsys.readouterr()
    assert f"Models: [('{OURS}'" in shown.out and "quickgelu" not in shown.out + shown.err
    assert main([*command, "--split", "val", "--dataset", "wds/gone"]) != 0
    assert error(capsys).startswith(f"wds/gone with {OURS}, {adapter}: ")


def test_the_folder_of_one_set_is_named_where_it_holds_several(tmp_path, adapter, capsys):
    output = tmp_path / "shards" / "mine"
    assert main(["export", "--data", "digits", "--output", str(output), "--quiet"]) == 0
    assert f"--dataset wds/mine --dataset_root {output}" in capsys.readouterr().out
    root = tmp_path / "shards"
    command = eval_command(root, "wds/mine", tmp_path / "out", "--pretrained", adapter)
    assert main(command) == 1
    assert f"splits there: none. Did you mean {output}?" in error(capsys)


def test_fewshot_takes_the_shipped_model_by_default_and_no_empty_output(tmp_path, capsys):
    root = tmp_path / "digits"
    single_label(root, 4)
    command = ["fewshot", "--dataset", "wds/digits", "--dataset_root", str(root)]
    command += ["--methods", "zeroshot", "--num_workers", "0", "--quiet"]
    assert main([*command, "--output", ""]) == 2
    assert "--output is empty" in error(capsys)
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    (found,) = results(tmp_path / "out").values()
    assert found["model"] == MODEL_NAME
    (path,) = (tmp_path / "out").glob("*.json")
    path.write_text('{"model": 3')
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    assert "computed again, because a result is damaged" in capsys.readouterr().err
    assert results(tmp_path / "out") == {path.name: found}
