"""Whose a run's folder is, and what is computed in it."""

import json

import pytest
from helpers.runs import make_run

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.run_dir import ADAPTER, RESULTS, finished, prepare_run_dir

RUN, IMAGES = make_run(), "a digest"


def finish(folder):
    for name in (ADAPTER, RESULTS):
        (folder / name).write_text("{}")


def test_a_run_is_finished_when_all_its_files_are_there(tmp_path):
    assert not prepare_run_dir(tmp_path, RUN, IMAGES)
    assert finished(tmp_path) is None
    (tmp_path / RESULTS).write_text("{}")
    assert not prepare_run_dir(tmp_path, RUN, IMAGES) and prepare_run_dir(
        tmp_path, RUN, IMAGES, (RESULTS,)
    )
    finish(tmp_path)
    assert prepare_run_dir(tmp_path, RUN, IMAGES) and finished(tmp_path) == (RUN, IMAGES)


@pytest.mark.parametrize("name", ["results.json", "checkpoint.pt", "selection.json", "targets"])
def test_whatever_was_computed_belongs_to_its_settings(tmp_path, name):
    prepare_run_dir(tmp_path, RUN, IMAGES)
    prepare_run_dir(
        tmp_path, RUN.replace(shots=1), IMAGES
    )  # nothing is lost by taking an empty folder
    (tmp_path / name).mkdir() if name == "targets" else (tmp_path / name).write_text("[]")
    with pytest.raises(UsageError, match="shots: 1 there, 2 now"):
        prepare_run_dir(tmp_path, RUN, IMAGES)
    with pytest.raises(UsageError, match="train_images: 'a digest' there, 'others' now"):
        prepare_run_dir(tmp_path, RUN.replace(shots=1), "others")


def test_a_folder_of_an_earlier_version_goes_on(tmp_path):
    """Fields that came later are at their defaults in it."""
    prepare_run_dir(tmp_path, RUN, IMAGES)
    finish(tmp_path)
    path = tmp_path / "run.json"
    settings = json.loads(path.read_text())
    del settings["targets"], settings["train"]["text_chunk_size"]
    path.write_text(json.dumps(settings))
    assert prepare_run_dir(tmp_path, RUN, IMAGES)
    with pytest.raises(UsageError, match="text_chunk_size: None there, 8 now"):
        prepare_run_dir(
            tmp_path, RUN.replace(train=RUN.train.from_dict({"text_chunk_size": 8})), IMAGES
        )


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"train": {"epoch": 3}}', '{"train": 3}'])
def test_damaged_settings_are_named(tmp_path, content):
    prepare_run_dir(tmp_path, RUN, IMAGES)
    finish(tmp_path)
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run\.json is damaged, or of another version"):
        prepare_run_dir(tmp_path, RUN, IMAGES)
