"""Whose a run's folder is, and what is computed in it."""

import hashlib
import json

import pytest
from helpers.runs import make_run, write_folder

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.data import load_data
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.resolve import images_digests
from open_clip_mmrl.experiments.results import ADAPTER, RESULTS
from open_clip_mmrl.experiments.run_dir import finished_run, is_finished, prepare_run_dir
from open_clip_mmrl.experiments.run_spec import training_digest

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
    with pytest.raises(UsageError, match="trained on: 'a digest' there, 'others' now"):
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


def finished_with(folder, spec, digests, cwd, monkeypatch):
    monkeypatch.chdir(cwd)
    return is_finished(folder, RUN.replace(data=spec), digests)


def test_relative_and_absolute_spellings_of_a_path_are_the_same_data(tmp_path, monkeypatch):
    home, folder = tmp_path / "home", tmp_path / "run"
    (home / "pics").mkdir(parents=True)
    monkeypatch.chdir(home)
    prepare_run_dir(folder, RUN.replace(data="folder:pics"), DIGEST)
    finish(folder)
    assert json.loads((folder / "run.json").read_text())["data"] == "folder:pics"
    for spec, cwd in [
        ("folder:pics", home), (f"folder:{home}/pics", tmp_path), ("folder:home/pics/", tmp_path),
        ("folder:../pics", home / "pics"), ("folder:./x/../pics", home),
    ]:  # fmt: skip
        assert finished_with(folder, spec, DIGEST, cwd, monkeypatch)
    with pytest.raises(UsageError, match=f"data: 'folder:{home}/pics' there, 'folder:{tmp_path}/p"):
        finished_with(folder, "folder:pics", DIGEST, tmp_path, monkeypatch)


def test_a_working_folder_that_has_moved_keeps_its_relative_paths(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    monkeypatch.chdir(tmp_path / "old")
    prepare_run_dir(tmp_path / "old" / "run", RUN.replace(data="folder:pics"), DIGEST)
    finish(tmp_path / "old" / "run")
    new = (tmp_path / "old").rename(tmp_path / "new")
    assert finished_with(new / "run", "folder:pics", DIGEST, new, monkeypatch)


def test_a_digest_that_an_earlier_version_wrote_is_accepted(tmp_path):
    prepare_run_dir(tmp_path, RUN, ("as it was",))
    finish(tmp_path)
    assert is_finished(tmp_path, RUN, ("as it is", "as it was"))
    with pytest.raises(UsageError, match="trained on: 'as it was' there, 'as it is' now"):
        is_finished(tmp_path, RUN, ("as it is",))


def test_the_digest_of_images_does_not_depend_on_where_they_are_seen_from(tmp_path, monkeypatch):
    write_folder(tmp_path / "pics", {"zero": 2, "one": 2})
    monkeypatch.chdir(tmp_path)
    relative, absolute = (load_data(f"folder:{p}") for p in ("pics", tmp_path / "pics"))
    ours, theirs = images_digests(relative), images_digests(absolute)
    assert ours[0] == theirs[0] and set(ours) == set(theirs)  # those of earlier versions as well
    assert ours[0] not in images_digests(relative.few_shot(1, seed=1))
    state = hashlib.sha256(repr((absolute.class_names, absolute.template)).encode())
    for example in absolute.train:
        state.update(repr((str(example.image), example.label)).encode())
    assert state.hexdigest()[:16] in ours  # as version 1 computed it


def test_what_tells_checkpoints_apart_does_not_name_folders():
    digest = training_digest(RUN, "images")
    assert digest == training_digest(RUN.replace(fusion="probabilities"), "images")
    others = [RUN.replace(shots=1), RUN.replace(train=TrainConfig(epochs=2, batch_size=5, seed=9))]
    others += [RUN.replace(settings={**RUN.settings, "rep_dim": 8}), RUN.replace(method="mmrl++")]
    assert (
        len(
            {
                digest,
                training_digest(RUN, "others"),
                *(training_digest(o, "images") for o in others),
            }
        )
        == 6
    )
    here, there = (RUN.replace(data=f"folder:{place}/pics") for place in ("here", "there"))
    assert training_digest(here, "images") == training_digest(there, "images")
