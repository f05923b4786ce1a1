"""Names of results, and files that are whole or not there."""

import argparse
import hashlib
import json
import shutil

import pytest

from benchmark_adapters.repairs.result_files import file_slug, result_file, result_path, strict
from open_clip_mmrl.errors import UsageError

DEFAULT = "{dataset}_{pretrained}_{model}_{language}_{task}.json"


def path_of(task="zeroshot_classification", **changes):
    values = {
        "model": "ViT-B-16",
        "model_type": "open_clip",
        "pretrained": "openai",
        "dataset": "wds/vtab/dtd",
        "language": "en",
        "output": DEFAULT,
    }
    return str(result_path(argparse.Namespace(**{**values, **changes}), task))


@pytest.fixture
def adapter(tmp_path):
    path = tmp_path / "run {1}" / "adapter.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"one")
    return path


def test_tags_have_clip_benchmarks_names():
    assert path_of() == "vtab_dtd_openai_ViT-B-16_en_zeroshot_classification.json"
    assert path_of(output="out/{pretrained_full_path}/{model}.json") == "out/openai/ViT-B-16.json"


def test_slashes_in_names_make_no_folders():
    found = path_of(
        model="hf-hub:org/ViT", pretrained="org/tag", output="{model}_{pretrained}.json"
    )
    assert found == "hf-hub:org-ViT_org-tag.json"


def test_files_are_named_by_folder_and_content(adapter):
    digest = hashlib.sha256(b"one").hexdigest()[:8]
    assert file_slug(adapter) == f"run {{1}}_adapter-{digest}"
    found = path_of(pretrained=str(adapter), output="{pretrained}.json")
    assert found == f"run {{1}}_adapter-{digest}.json"
    full = path_of(pretrained=str(adapter), output="{pretrained_full_path}.json")
    assert full == str(adapter).replace("/", "_") + ".json"


def test_files_with_one_name_are_told_apart(adapter, tmp_path):
    """In folders of one name by their content, and when the file is written anew."""
    first = file_slug(adapter)
    other = tmp_path / "more" / adapter.parent.name / adapter.name
    other.parent.mkdir(parents=True)
    other.write_bytes(b"two")
    assert file_slug(other) != first
    shutil.copy(adapter, other)
    assert file_slug(other) == first
    adapter.write_bytes(b"three")
    assert file_slug(adapter) != first


def test_the_users_own_names_of_links_stay(adapter, tmp_path):
    link = tmp_path / "best.safetensors"
    link.symlink_to(adapter)
    assert file_slug(link).startswith(f"{tmp_path.name}_best-")


def test_model_types_are_told_apart():
    names = {t: path_of(model_type=t, output="{model}.json") for t in ("mmrl", "mmrl_fused")}
    assert names == {"mmrl": "ViT-B-16.json", "mmrl_fused": "ViT-B-16-fused.json"}


@pytest.mark.parametrize("output", ["{name}.json", "{}.json", "{model.json"])
def test_places_that_do_not_exist(output):
    with pytest.raises(UsageError, match=r"cannot be filled in .*: places are \{model\}, \{pretr"):
        path_of(output=output)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UsageError, match=r"is a folder: give a file in it"):
        path_of(output=str(tmp_path))


def test_a_result_is_strict_json_with_what_was_added(tmp_path):
    path, extra = tmp_path / "new" / "folder" / "x.json", {"model_type": "mmrl"}
    with result_file(path, extra) as partial:
        assert partial.exists() and not path.exists()
        partial.write_text('{"metrics": {"acc5": NaN, "curve": [1.5, Infinity]}, "n": 3}')
        extra["skipped_images"] = 2
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]
    found = json.loads(path.read_text())
    assert found == {
        "metrics": {"acc5": None, "curve": [1.5, None]},
        "n": 3,
        "model_type": "mmrl",
        "skipped_images": 2,
    }


def test_strict_leaves_the_rest():
    value = {"a": [1, 2.5, "NaN", True, None], "b": {"c": -float("inf")}}
    assert strict(value) == {"a": [1, 2.5, "NaN", True, None], "b": {"c": None}}


def test_what_fails_leaves_the_earlier_result(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("earlier")
    with pytest.raises(KeyboardInterrupt), result_file(path, {}) as partial:
        partial.write_text('{"metrics"')
        raise KeyboardInterrupt
    assert path.read_text() == "earlier" and len(list(tmp_path.iterdir())) == 1


def test_no_metrics_are_never_written(tmp_path):
    path = tmp_path / "x.json"
    with (
        pytest.raises(ValueError, match=r"gave no metrics; .*x\.json is not written"),
        result_file(path, {}) as partial,
    ):
        partial.write_text('{"metrics": null}')
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_found_before_the_evaluation(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.json", tmp_path / f"{'x' * 250}.json"):
        with pytest.raises(ValueError, match=r"cannot write .*\.json: "), result_file(path, {}):
            raise AssertionError("evaluated")
