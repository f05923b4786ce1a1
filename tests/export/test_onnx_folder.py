"""`--to onnx`: the code of the folder's README answers as `predict` does, without torch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.exported import answers, blocks, imported, predicted

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.export import export_onnx, onnx_files, onnx_folder
from open_clip_mmrl.export.onnx_files import onnx_runner, quantize, require_loads

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def float32(adapters, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "out"
    done = export_onnx(adapters.mmrl, folder)
    return SimpleNamespace(folder=folder, done=done, adapter=adapters.mmrl)


@pytest.fixture
def exported(request, adapters, tmp_path):
    """MMRL on a CLIP in float32; MMRL++ on a kind of SigLIP in float16; MMRL on EVA, rounded."""
    if request.param == "float32":
        return request.getfixturevalue("float32")
    half = request.param == "float16"
    adapter = adapters.mmrlpp if half else adapters.eva
    out = tmp_path / "out"
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 7):
        with pytest.raises(ValueError, match=r"cannot be exported: .*; a newer one may"):
            export_onnx(adapter, out, dtype=request.param, text=half)
        pytest.skip("torch 2.6 cannot export timm's attention pooling, and says so")
    done = export_onnx(adapter, out, dtype=request.param, text=half)
    return SimpleNamespace(folder=out, done=done, adapter=adapter)


@pytest.mark.parametrize(
    ("exported", "tolerance"),
    [("float32", 1e-5), ("float16", 0.02), ("int8", 0.1)],
    indirect=["exported"],
)
def test_code_of_the_readme_answers_as_predict(exported, tolerance, pictures, monkeypatch):
    code = blocks(exported.folder)
    assert imported(code[0]) == {"json", "sys", "numpy", "onnxruntime", "PIL"}
    found = answers(exported.folder, pictures, monkeypatch)
    assert np.abs(found[0] - predicted(exported.adapter, pictures)).max() < tolerance
    if len(found) > 1:  # text.onnx is there
        assert imported(code[1]) == {"tokenizers"}
        wanted = predicted(exported.adapter, pictures, ["okapi", "sea lion"])
        assert np.abs(found[1] - wanted).max() < tolerance
    assert "on 64 images" in exported.done.lines[0]


def test_folder_is_whole_and_tells_nothing_of_this_machine(float32):
    assert float32.done.files.keys() == {path.name for path in float32.folder.iterdir()} == {
        "README.md", "classes.safetensors", "image.onnx", "preprocessor.json", "text.onnx",
        "tokenizer.json",
    }  # fmt: skip
    for path in float32.folder.iterdir():
        content = path.read_bytes()
        assert b"site-packages" not in content and b"/open_clip_mmrl/" not in content
        assert str(float32.adapter.parent).encode() not in content


def test_tokens_are_baked_in_and_the_batch_is_free(float32):
    graph = onnx.load(float32.folder / "image.onnx").graph
    (given,), shapes = graph.input, [tuple(tensor.dims) for tensor in graph.initializer]
    batch, *image = (d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim)
    assert isinstance(batch, str) and image == [3, 16, 16]  # "batch"; torch 2.6 calls it "s0"
    assert [output.name for output in graph.output] == ["class", "representation"]
    assert (2, 8) not in shapes  # the shared space
    images = np.random.default_rng(0).standard_normal((7, 3, 16, 16), dtype=np.float32)
    run = onnx_runner(float32.folder / "image.onnx")
    for whole, alone in zip(run(images), run(images[2:3]), strict=True):
        assert np.allclose(whole[2:3], alone, atol=1e-5)


def test_integers_keep_the_features(float32, tmp_path):
    quantize(float32.folder / "image.onnx", tmp_path / "int8.onnx")
    types = {t.data_type for t in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in types
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)).numpy()
    for exact, rounded in zip(
        onnx_runner(float32.folder / "image.onnx")(images),
        onnx_runner(tmp_path / "int8.onnx")(images), strict=True,
    ):  # fmt: skip
        assert 0 < np.abs(exact - rounded).max() < 0.1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dtype": "int4"}, "'int4'; it has to be one of"),
        ({"features": "frozen"}, "'frozen'; it has to be one of"),
        ({"images": ["nowhere"]}, "nowhere"),
    ],
)
def test_what_does_not_exist_is_refused(adapters, tmp_path, given, message):
    with pytest.raises(UsageError, match=message):
        export_onnx(adapters.mmrl, tmp_path / "out", **given)
    assert not list(tmp_path.iterdir())


def test_a_file_of_which_onnxruntime_dies_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"cannot load x.onnx in float16 .*export in float32"):
        require_loads(tmp_path / "x.onnx")


def test_missing_packages_are_named(adapters, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None if "onnx" in name else name)
    with pytest.raises(UsageError, match="pip install onnx onnxscript onnxruntime"):
        export_onnx(adapters.mmrl, tmp_path / "out")


def test_a_file_that_computes_something_else_is_not_written(adapters, tmp_path, monkeypatch):
    for name in ("trace", "write_onnx"):
        monkeypatch.setattr(onnx_folder, name, lambda *_: None)
    wrong = [np.ones((64, 10)), np.zeros((64, 10))]
    monkeypatch.setattr(onnx_folder, "onnx_runner", lambda path: lambda values: wrong)
    with pytest.raises(ValueError, match="something else"):
        export_onnx(adapters.mmrl, tmp_path / "out")
    assert not list(tmp_path.iterdir())
