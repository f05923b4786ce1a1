"""Whose a run's folder is, and what is computed in it."""

import json

import pytest
from helpers.runs import make_run

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.results import ADAPTER, RESULTS
from open_clip_mmrl.experiments.run_dir import finished_run, prepare_run_dir

RUN, DIGEST = make_run(), ("a digest",)


def finish(folder):
    for name in (ADAPTER, RESULTS):
        (folder / name).write_text("{}")


def test_a_baseline_is_finished_when_its_results_are_there(tmp_path):
    baseline = RUN.replace(method="zeroshot")
    assert not prepare_run_dir(tmp_path, baseline, DIGEST)
    (tmp_path / RESULTS).write_text("{}")
    assert prepare_run_dir(tmp_path, baseline, DIGEST)


def test_a_run_is_finished_when_all_its_files_are_there(tmp_path):
    assert not prepare_run_dir(tmp_path, RUN, DIGEST)
    assert finished_run(tmp_path) is None
    (tmp_path / RESULTS).write_text("{}")
    assert not prepare_run_dir(tmp_path, RUN, DIGEST)
    finish(tmp_path)
    assert prepare_run_dir(tmp_path, RUN, DIGEST) and finished_run(tmp_path) == (RUN, *DIGEST)


@pytest.mark.parametrize("name", ["results.json", "checkpoint.pt", "selection.json", "targets"])
def test_whatever_was_computed_belongs_to_its_settings(tmp_path, name):
    prepare_run_dir(tmp_path, RUN, DIGEST)
    prepare_run_dir(tmp_path, RUN.replace(shots=1), DIGEST)  # nothing is lost: it is empty
    (tmp_path / name).mkdir() if name == "targets" else (tmp_path / name).write_text("[]")
    with pytest.raises(UsageError, match="shots: 1 there, 2 now"):
        prepare_run_dir(tmp_path, RUN, DIGEST)
    with pytest.raises(UsageError, match="train_images: 'a digest' there, 'others' now"):
        prepare_run_dir(tmp_path, RUN.replace(shots=1), ("others",))


def test_a_folder_of_an_earlier_version_is_accepted(tmp_path):
    """Fields that came later are at their defaults in it."""
    prepare_run_dir(tmp_path, RUN, DIGEST)
    finish(tmp_path)
    path = tmp_path / "run.json"
    settings = json.loads(path.read_text())
    del settings["targets"], settings["train"]["text_chunk_size"]
    path.write_text(json.dumps(settings))
    assert prepare_run_dir(tmp_path, RUN, DIGEST)
    with pytest.raises(UsageError, match="text_chunk_size: None there, 8 now"):
        prepare_run_dir(
            tmp_path, RUN.replace(train=RUN.train.from_dict({"text_chunk_size": 8})), DIGEST
        )


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"train": {"epoch": 3}}', '{"train": 3}'])
def test_damaged_settings_are_named(tmp_path, content):
    prepare_run_dir(tmp_path, RUN, DIGEST)
    finish(tmp_path)
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run\.json is damaged, or of another version"):
        prepare_run_dir(tmp_path, RUN, DIGEST)
