"""An adapter is named by its file or by its run's folder."""

import open_clip
import pytest

from open_clip_mmrl import FewShotClassifier, read_adapter_info, save_adapter
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.hub.adapter_path import ADAPTER, adapter_in, adapter_path


def test_a_file_and_the_folder_that_holds_it_are_one_adapter(tmp_path):
    (tmp_path / ADAPTER).touch()
    (tmp_path / "other.safetensors").touch()
    assert adapter_path(tmp_path) == adapter_path(str(tmp_path / ADAPTER)) == tmp_path / ADAPTER
    assert adapter_path(tmp_path / "other.safetensors") == tmp_path / "other.safetensors"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no adapter.safetensors: give"),
        (["run.json"], "is not finished"),
        (["run.json", "results.json"], r"only mmrl and mmrl\+\+ write one"),
        (
            ["a/seed1/adapter.safetensors", "b/adapter.safetensors"],
            "adapters are in .*a/seed1, .*/b",
        ),
    ],
)
def test_a_folder_without_adapter_tells_what_it_is(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=message):
        adapter_path(tmp_path)


@pytest.mark.parametrize("where", ["gone", "", "a\0b", "x" * 5000, None, 3])
def test_what_is_not_there_is_named(tmp_path, where, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="adapter"):
        adapter_path(where)


def test_tags_win_over_folders_of_their_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("openai", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ADAPTER).touch()
    assert adapter_in("openai") == "openai" and adapter_in("mine") != "mine"
    assert adapter_in("elsewhere") == "elsewhere" and adapter_in(None) is None


def test_a_runs_folder_is_taken_wherever_an_adapter_is(tmp_path):
    name = f"mmrl-{MODEL_NAME}"
    model = open_clip.create_model(name, TAG)
    save_adapter(model, tmp_path / ADAPTER, class_names=["one", "two"])
    assert read_adapter_info(tmp_path)["class_names"] == ["one", "two"]
    assert FewShotClassifier.from_adapter(tmp_path).classes_.tolist() == ["one", "two"]
    again = open_clip.create_model(name, str(tmp_path))
    assert again.learner.state_dict().keys() == model.learner.state_dict().keys()
