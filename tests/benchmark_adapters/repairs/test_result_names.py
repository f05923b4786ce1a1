"""Names of results: one for every run."""

import hashlib
import shutil

import pytest
from helpers.upstream import eval_args, mended

from benchmark_adapters import seam
from benchmark_adapters.repairs.result_names import file_slug, result_path
from open_clip_mmrl.errors import UsageError

DEFAULT = "{dataset}_{pretrained}_{model}_{language}_{task}.json"


def path_of(task="zeroshot_classification", **changes):
    values = {"dataset": "wds/vtab/dtd", "output": DEFAULT, **changes}
    return str(result_path(eval_args(**values), task))


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


def test_files_of_one_name_get_different_names(adapter, tmp_path):
    """In folders of one name by their content, also after a file was replaced."""
    first = file_slug(adapter)
    other = tmp_path / "more" / adapter.parent.name / adapter.name
    other.parent.mkdir(parents=True)
    other.write_bytes(b"two")
    assert file_slug(other) != first
    shutil.copy(adapter, other)
    assert file_slug(other) == first
    adapter.write_bytes(b"three")
    assert file_slug(adapter) != first


def test_links_keep_their_own_name(adapter, tmp_path):
    link = tmp_path / "best.safetensors"
    link.symlink_to(adapter)
    assert file_slug(link).startswith(f"{tmp_path.name}_best-")


def test_model_types_get_different_names():
    names = {t: path_of(model_type=t, output="{model}.json") for t in ("mmrl", "mmrl_fused")}
    assert names == {"mmrl": "ViT-B-16.json", "mmrl_fused": "ViT-B-16-fused.json"}


@pytest.mark.parametrize("output", ["{name}.json", "{}.json", "{model.json"])
def test_places_that_do_not_exist(output):
    with pytest.raises(UsageError, match=r"cannot be filled in .*: places are \{model\}, \{pretr"):
        path_of(output=output)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UsageError, match=r"is a folder: give a file in it"):
        path_of(output=str(tmp_path))


def test_clip_benchmark_skips_a_second_adapter_of_one_name(tmp_path, adapter, capsys):
    (tmp_path / "adapter.safetensors.json").touch()  # the result of a first one
    output = f"{tmp_path}/{{pretrained}}.json"
    args = eval_args(pretrained=str(adapter), output=output, skip_existing=True, skip_load=True)
    try:
        seam.original(seam.CLI, "run")(args)
    except UnboundLocalError:  # it goes to work
        pytest.fail(mended("result_names"))
    assert "adapter.safetensors.json, exists already" in capsys.readouterr().out
