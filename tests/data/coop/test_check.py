import json
import shutil
from dataclasses import replace

import pytest
import typer
from helpers.trees import write_all, write_tree
from typer.testing import CliRunner

from open_clip_mmrl.cli.data import app
from open_clip_mmrl.data import Example, ImageData, load_data
from open_clip_mmrl.data.coop.catalog import CATALOG
from open_clip_mmrl.data.coop.check import check, sizes

PAPER = {"classes": 10, "train": 13500, "val": 5400, "test": 8100}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    write_all(root, classes=2)
    return root


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    command_line = typer.Typer()
    command_line.add_typer(app, name="data")

    def run(*args):
        return CliRunner().invoke(command_line, ["data", "check", *map(str, args)])

    return run


def found(root, name):
    return next(dataset for dataset in check(root) if dataset.name == name)


def eurosat(tmp_path, **kwargs):
    """As many rows as the paper has, of one image."""
    image = tmp_path / "1.jpg"
    splits = {
        split: tuple(Example(image=image, label=i % 10) for i in range(PAPER[split]))
        for split in ("train", "val", "test")
    }
    names = tuple(f"class {i}" for i in range(10))
    data = ImageData(spec="coop:eurosat", class_names=names, template="{}", **splits)
    return replace(data, **kwargs)


def test_a_whole_root(whole):
    datasets = check(whole)
    assert [dataset.name for dataset in datasets] == list(CATALOG)
    for dataset in datasets:
        assert (dataset.state, dataset.absent, dataset.problem) == ("present", (), None)
        data = load_data(f"coop:{dataset.name}", data_root=whole)
        counts = {split: len(getattr(data, split)) for split in ("train", "val", "test")}
        assert dataset.sizes == {"classes": 2, **counts, "paper_split": False}
        origin = {"folders": "folders"}.get(CATALOG[dataset.name].labels, "published file")
        assert dataset.origin == origin
        assert not dataset.notes  # its two classes have names of their own


def test_no_image_is_opened(tmp_path):
    write_tree(tmp_path, "dtd")
    for path in (tmp_path / "dtd" / "images").glob("*/*.jpg"):
        path.write_bytes(b"no image")
    assert found(tmp_path, "dtd").state == "present"


def test_an_empty_root_lists_what_is_missing(tmp_path):
    datasets = check(tmp_path)
    assert {dataset.state for dataset in datasets} == {"missing"}
    assert {d.name: d.absent for d in datasets} == {n: e.places for n, e in CATALOG.items()}
    assert {dataset.sizes for dataset in datasets} == {None}


def test_absent_images_are_counted(tmp_path):
    folder = write_tree(tmp_path, "food101")
    shutil.rmtree(folder / "images" / "baklava")
    (folder / "images" / "apple_pie" / "apple_pie_8.jpg").unlink()
    dataset = found(tmp_path, "food101")
    assert dataset.state == "incomplete" and dataset.sizes["train"] == 16
    assert dataset.problem == (
        "10 of the 36 images listed are not there, the first is "
        "food-101/images/baklava/baklava_0.jpg"
    )


def test_a_drawn_split_is_noted(tmp_path):
    write_tree(tmp_path, "sun397", split_file=False)
    dataset = found(tmp_path, "sun397")
    assert (dataset.state, dataset.origin) == ("present", "drawn")
    assert dataset.absent == ("sun397/split_zhou_SUN397.json",)
    assert "not the paper's split: drawn here, since sun397/split_zhou_SUN397.json" in str(
        dataset.notes
    )


def test_one_broken_data_set_does_not_stop_the_rest(tmp_path):
    write_all(tmp_path, classes=2)
    (tmp_path / "imagenet-rendition" / "classnames.txt").write_text("oh")
    (tmp_path / "dtd" / "split_zhou_DescribableTextures.json").write_text("{")
    shutil.rmtree(tmp_path / "stanford_cars" / "cars_train")
    (tmp_path / "oxford_pets" / "split_zhou_OxfordPets.json").unlink()
    shutil.rmtree(tmp_path / "oxford_pets" / "annotations")
    shutil.rmtree(tmp_path / "imagenet" / "images" / "val")
    (tmp_path / "imagenet" / "images" / "val").write_text("a file")
    states = {dataset.name: dataset for dataset in check(tmp_path)}
    broken = {name: d.problem for name, d in states.items() if d.state == "incomplete"}
    assert set(broken) == {"imagenet_r", "dtd", "stanford_cars", "oxford_pets", "imagenet"}
    assert "classnames.txt, line 1: 'oh'" in broken["imagenet_r"]
    assert "not JSON" in broken["dtd"]
    assert "cars_train" in broken["stanford_cars"]
    assert states["stanford_cars"].absent == ("stanford_cars/cars_train/",)
    assert "trainval.txt is missing" in broken["oxford_pets"]
    assert states["food101"].state == "present"


def test_sizes_of_the_papers_split(tmp_path):
    data = eurosat(tmp_path)
    assert sizes(data, "eurosat") == {**PAPER, "paper_split": None}, "it may have been drawn"
    write_tree(tmp_path, "eurosat", split_file=False)
    assert sizes(data, "eurosat", tmp_path) == {**PAPER, "paper_split": False}
    write_tree(tmp_path, "eurosat")
    assert sizes(data, "eurosat", tmp_path) == {**PAPER, "paper_split": True}


def test_sizes_of_other_splits(tmp_path, whole):
    fewer = eurosat(tmp_path, val=())
    assert sizes(fewer, "eurosat") == {**PAPER, "val": 0, "paper_split": False}
    assert sizes(fewer, "birds")["paper_split"] is None
    base = eurosat(tmp_path).select("base")
    assert sizes(base, "eurosat") == {
        "classes": 5,
        "train": 6750,
        "val": 2700,
        "test": 4050,
        "paper_split": None,
    }
    aircraft = load_data("coop:fgvc_aircraft", data_root=whole)
    assert sizes(aircraft, "fgvc_aircraft")["paper_split"] is False


def test_lists_and_folders_of_the_papers_size_are_the_papers(tmp_path, monkeypatch):
    for name in ("fgvc_aircraft", "imagenet_a"):
        write_tree(tmp_path, name)
        data = load_data(f"coop:{name}", data_root=tmp_path)
        counts = (4, len(data.train), len(data.val), 12)
        monkeypatch.setitem(CATALOG, name, replace(CATALOG[name], counts=counts))
        assert sizes(data, name)["paper_split"] is True


def test_command(run, tmp_path):
    write_all(tmp_path, classes=2)
    write_tree(tmp_path, "dtd", classes=2, split_file=False)
    for name in ("imagenet", "imagenetv2", "imagenet_sketch", "imagenet_a"):
        write_tree(tmp_path, name, classes=4 if name == "imagenet_a" else 8)
    shutil.rmtree(tmp_path / "eurosat")
    (tmp_path / "food-101" / "images" / "baklava" / "baklava_0.jpg").unlink()
    result = run("--data-root", tmp_path, "--json", tmp_path / "out" / "check.json")
    assert result.exit_code == 0, result.output
    words = [line.split() for line in result.output.splitlines()]
    assert ["dtd", "present", "no", "2/47", "8/2820"] in [w[:5] for w in words]
    assert ["eurosat", "missing", "-", "-/10", "-/13500", "-/5400", "-/8100"] in words
    assert "eurosat: missing; from https://github.com/phelber/EuroSAT" in result.output
    assert "\n    eurosat/split_zhou_EuroSAT.json\n" in result.output
    assert "food101: incomplete; 1 of the 18 images listed are not there" in result.output
    assert "\ndtd: not the paper's split: drawn here" in result.output
    assert "imagenet, imagenetv2, imagenet_sketch: class names changed" in result.output
    content = json.loads((tmp_path / "out" / "check.json").read_text())
    assert content["data_root"] == str(tmp_path)
    assert [dataset["state"] for dataset in content["datasets"]].count("present") == 13
    assert content["datasets"][9]["paper"] == PAPER == CATALOG["eurosat"].sizes


def test_command_refuses_a_root_that_is_not_there(run, tmp_path):
    result = run("--data-root", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "nowhere does not exist or is not a folder" in result.output
