"""MATLAB files are read as scipy reads them, and damaged ones do not crash the process."""

import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from open_clip_mmrl.data.coop import mat_file
from open_clip_mmrl.data.coop.mat_file import read_mat

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "f4", "f8")


@pytest.fixture(params=[True, False], ids=["compressed", "plain"])
def saved(tmp_path, request):
    def save(**variables):
        path = tmp_path / "a.mat"
        savemat(path, variables, do_compression=request.param)
        return path

    return save


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (0, 0)])
def test_numbers(saved, kind, shape):
    numbers = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    path = saved(labels=numbers, other=np.ones((1, 1)))
    assert read_mat(path)["labels"] == loadmat(path)["labels"].ravel().tolist()


def test_text_cells_and_structs(saved):
    names = np.array(["AM General Hummer SUV 2000", "é", ""], dtype=object)
    rows = np.array([(5.0, "00001.jpg"), (7.0, "é.jpg")], dtype=[("class", "O"), ("fname", "O")])
    found = read_mat(saved(class_names=names[None], annotations=rows[None], note="a word"))
    assert found["class_names"] == names.tolist()
    assert found["annotations"] == [
        {"class": [5.0], "fname": "00001.jpg"},
        {"class": [7.0], "fname": "é.jpg"},
    ]
    assert found["note"] == "a word"


def test_what_annotations_do_not_need_is_left_out(saved):
    assert read_mat(saved(x=np.array([[1 + 2j]]), y=np.ones((1, 2))))["y"] == [1, 1]


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", bytes(200), b"x" * 126 + b"IM" + b"x" * 9])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"no MATLAB file|ends within|damaged"):
        read_mat(tmp_path / "a.mat")


def test_a_variable_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mat_file, "_MAX_UNPACKED", 1000)
    packed = zlib.compress(bytes(1001))
    head = bytes(126) + b"IM" + np.uint32([15, len(packed)]).tobytes()
    (tmp_path / "a.mat").write_bytes(head + packed)
    with pytest.raises(ValueError, match="too large when it is unpacked"):
        read_mat(tmp_path / "a.mat")
