"""The files of an evaluation: what they hold, and what they replace."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from open_clip_mmrl.data import Example
from open_clip_mmrl.data.example import DatasetItem
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.evaluation.assessment import assess, assessment_json
from open_clip_mmrl.report.evaluation import Evaluation, require_free, write_evaluation
from open_clip_mmrl.report.evaluation.write import MAX_MISTAKES

NAMES = ["<b>ant</b> & co", "=bee()", "cow"]


def evaluation(examples, answers=None, names=NAMES):
    """The answer is the class after the true one, unless given; later images are less sure."""
    labels = torch.tensor([example.label for example in examples])
    answers = (labels + 1) % len(names) if answers is None else torch.tensor(answers)
    sure = torch.linspace(4, 1, len(labels))[:, None]
    scores = sure * torch.nn.functional.one_hot(answers, len(names))
    adapted, frozen = assess(scores, labels, names), assess(scores.flip(1), labels, names)
    numbers = {"adapter": "x", **assessment_json(adapted, frozen)}
    facts = {"prompt": "a photo of a <i>{}</i>."}
    return Evaluation("digits", facts, "mmrl", names, "test", examples, adapted, frozen, numbers)


def arrays(count, classes=3):
    pixels = np.full((8, 6, 3), 90, dtype=np.uint8)
    return [Example(image=pixels, label=i % classes) for i in range(count)]


class Page(HTMLParser):
    """Gathers tags, sources and words, and checks that elements are closed in order."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.sources, self.words = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_needs_nothing_else_and_escapes_names(tmp_path):
    page = Page(write_evaluation(tmp_path / "page", evaluation(arrays(9))))
    assert {file.name for file in (tmp_path / "page").iterdir()} == {
        "index.html", "predictions.csv", "eval.json",
    }  # fmt: skip
    assert len(page.sources) == 9
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert not {"script", "link", "b>ant", "i"} & set(page.tags)
    assert "<b>ant</b> & co" in page.text and "a photo of a <i>{}</i>." in page.text
    assert "9 of 9 images are taken for another class" in page.text


def test_mistakes_are_bounded_and_the_most_confident_come_first(tmp_path):
    count = MAX_MISTAKES + 5
    page = Page(write_evaluation(tmp_path, evaluation(arrays(count))))
    assert len(page.sources) == MAX_MISTAKES and "5 more in predictions.csv" in page.text
    names = [word for word in page.words if word.startswith("test[")]
    assert names == [f"test[{i}]" for i in range(MAX_MISTAKES)]


def test_nothing_wrong(tmp_path):
    found = evaluation(arrays(3), answers=[0, 1, 2])
    page = Page(write_evaluation(tmp_path, found))
    assert "All 3 images are recognized" in page.text and page.sources == []


def test_predictions_hold_every_image_and_no_formulas(tmp_path):
    write_evaluation(tmp_path, evaluation(arrays(4)))
    with (tmp_path / "predictions.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows] == ["test[0]", "test[1]", "test[2]", "test[3]"]
    assert [row["true"] for row in rows[:2]] == ["<b>ant</b> & co", "'=bee()"]
    assert [row["predicted"] for row in rows[:2]] == ["'=bee()", "cow"]
    assert {row["correct"] for row in rows} == {"false"}
    expected = torch.tensor([0.0, 4.0, 0.0]).softmax(0)
    assert float(rows[0]["confidence"]) == pytest.approx(expected[1].item(), abs=1e-6)
    assert float(rows[0]["true_class_probability"]) == pytest.approx(expected[0].item(), abs=1e-6)
    assert json.loads((tmp_path / "eval.json").read_text())["accuracy"] == 0.0


def test_images_of_every_kind_are_shown(tmp_path):
    """A file whose name is no text, an item of a data set."""
    path = tmp_path / "images" / "ant" / "odd\udcff\n.png"
    path.parent.mkdir(parents=True)
    Image.new("RGBA", (300, 200), (200, 30, 30, 128)).save(path)
    items = [(Image.new("L", (5, 400)), 0)]
    examples = [
        Example(image=path, label=0),
        Example(image=DatasetItem(items, "cifar10 test", 0), label=1),
        *arrays(1),
    ]
    page = Page(write_evaluation(tmp_path / "page", evaluation(examples)))
    assert len(page.sources) == 3
    assert "odd\\udcff\\n.png" in page.text and "cifar10 test[0]" in page.text


def test_many_classes_leave_a_matrix_of_the_confused_ones(tmp_path):
    names = [f"class {i}" for i in range(120)]
    answers = [i - i % 2 for i in range(120)]  # the odd ones are taken for the even ones
    page = Page(write_evaluation(tmp_path, evaluation(arrays(120, 120), answers, names)))
    assert "The other 90 classes have no row" in page.text
    assert page.text.count("class 119") == 2  # the true class of a mistake, a line of the table


def test_earlier_files_are_replaced_and_others_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_evaluation(tmp_path, evaluation(arrays(9)))
    page = Page(write_evaluation(tmp_path, evaluation(arrays(6))))
    assert len(page.sources) == 6 and (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["index.html", "predictions.csv", "eval.json"])
def test_files_of_others_are_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=rf"{name} was not written by .eval.*another folder"):
        write_evaluation(tmp_path, evaluation(arrays(3)))
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "page").write_text("mine")
    with pytest.raises(UsageError, match="page is a file; give a folder"):
        require_free(tmp_path / "page")
    require_free(tmp_path / "new")
