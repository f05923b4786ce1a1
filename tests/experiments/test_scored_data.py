import json
import shutil

import numpy as np
import pytest
from helpers.cli import run as run_cli
from PIL import Image

from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.config import TrainConfig
from open_clip_mmrl.experiments.execute import execute
from open_clip_mmrl.experiments.results import ADAPTER, RunResult
from open_clip_mmrl.experiments.run_spec import FewShotRun, Runtime
from open_clip_mmrl.experiments.scored_data import data_to_score
from open_clip_mmrl.hub.adapter_reading import read_adapter


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of two classes, and the folder of a run on it."""
    root = tmp_path_factory.mktemp("trained")
    draw = np.random.default_rng(0)
    for number in range(12):
        path = root / "flat" / f"n0{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    run = FewShotRun(
        model=MODEL_NAME,
        pretrained=None,
        data=f"folder:{root / 'flat'}",
        shots="all",
        test_fraction=0.3,
        class_names={"n00": "zero", "n01": "one"},
        train=TrainConfig(epochs=1, flip=False),
    )
    execute(run, root / "run", Runtime(quiet=True))
    return root


def test_all_shots_are_all_images_of_the_training_side(trained):
    result = RunResult.read(trained / "run" / "results.json")
    assert result.shots == "all" and result.train_images == 8
    assert json.loads((trained / "run" / "results.json").read_text())["shots"] == "all"


@pytest.mark.parametrize("alone", [False, True])
def test_a_run_or_its_file_alone_knows_what_it_may_be_scored_on(trained, tmp_path, alone):
    shutil.copytree(trained / "flat", tmp_path / "moved")
    folder = trained / "run"
    if alone:
        folder = tmp_path
        shutil.copy(trained / "run" / ADAPTER, tmp_path)
    listed = json.loads((trained / "run" / "split.json").read_text())
    data = data_to_score(f"folder:{tmp_path / 'moved'}", read_adapter(folder / ADAPTER))
    found = [e.image.relative_to(tmp_path / "moved").as_posix() for e in data.test]
    assert found == listed["test"] and len(found) == 4 and len(listed["train"]) == 8
    assert data.class_names == ("zero", "one") and data.train == ()


def test_validation_images_of_the_training_are_drawn_again(trained, tmp_path):
    spec, names = f"folder:{trained / 'flat'}", {"n00": "zero", "n01": "one"}
    run = FewShotRun(
        model=MODEL_NAME, pretrained=None, data=spec, shots="all", test_split="val",
        class_names=names, train=TrainConfig(epochs=1, flip=False),
    )  # fmt: skip
    result = execute(run, tmp_path / "run", Runtime(quiet=True))
    command = ["eval", "--adapter", tmp_path / "run", "--data", spec, "--split", "val", "--json"]
    code, text, found = run_cli(*command, "--quiet")
    assert code == 0, text
    scored = json.loads(found.stdout)
    assert scored["images"] == 2 and scored["accuracy"] == result.metrics["accuracy"]
    adapter = read_adapter(tmp_path / "run" / ADAPTER)
    (trained / "flat" / "n00" / "new.png").write_bytes(
        (trained / "flat" / "n00" / "0.png").read_bytes()
    )
    with pytest.raises(ValueError, match="nobody knows which validation images"):
        data_to_score(spec, adapter, split="val")
    (trained / "flat" / "n00" / "new.png").unlink()
    other = read_adapter(trained / "run" / ADAPTER)  # trained on all but the test images
    assert not data_to_score(spec, other, split="val").val


def test_a_file_of_another_adapter_is_not_used(trained, tmp_path, caplog):
    shutil.copy(trained / "run" / ADAPTER, tmp_path)
    listed = json.loads((trained / "run" / "split.json").read_text())
    (tmp_path / "split.json").write_text(json.dumps({**listed, "digest": "0", "test": ["a"]}))
    data = data_to_score(f"folder:{trained / 'flat'}", read_adapter(tmp_path / ADAPTER))
    assert len(data.test) == 4 and "belongs to another adapter" in caplog.text


def test_new_options_are_written_where_they_are_given_only():
    run = FewShotRun(model=MODEL_NAME, pretrained=None, data="digits")
    assert not {"test_fraction", "nested", "class_names"} & run.to_dict().keys()
    assert FewShotRun.from_dict(run.replace(nested=True).to_dict()).nested
