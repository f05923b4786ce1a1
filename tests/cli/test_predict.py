"""`predict` on files and folders: its table, JSON, CSV and files."""

import csv
import io
import json
from pathlib import Path

import pytest
from helpers.adapters import write_adapter
from helpers.cli import run
from helpers.runs import write_folder
from rich.cells import cell_len

from open_clip_mmrl import FewShotClassifier
from open_clip_mmrl.cli.predict_table import columns, print_table, shortened
from open_clip_mmrl.evaluation.answers import Answer, RankedClass
from open_clip_mmrl.hub.adapter_info import Calibration

SEEN = ["one", "two", "three"]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return write_adapter(tmp_path_factory.mktemp("run") / "adapter.safetensors", SEEN)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """An adapter whose 20 held-back images were as probable as 0.02 to 0.40."""
    shares = [step / 50 for step in range(1, 21)]
    calibration = Calibration(
        held_back="shots",
        temperature={"logits": 1.0, "probabilities": 4.0},
        true_probability={"logits": shares, "probabilities": shares},
        max_softmax=[0.3, *[0.33] * 9, *[1.0] * 10],
    )
    path = tmp_path_factory.mktemp("calibrated") / "adapter.safetensors"
    return write_adapter(path, SEEN, calibration=calibration)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    write_folder(folder, {"one": 1, "two": 1}, test=2)
    return folder / "test"


def predict(adapter, *args):
    code, text, result = run("predict", "--adapter", adapter, *args, "--quiet")
    return code, text, result.stdout


def json_rows(stdout):
    return [json.loads(line) for line in stdout.splitlines()]


def csv_rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_table_has_a_line_per_image_within_80_columns(adapter, photos):
    code, text, stdout = predict(adapter, photos, "--new-class", "six", "--top", 4)
    assert code == 0 and text.count("%") == 5 and "(new)" in text
    assert all(f"/{name}/{i}.png " in text for name in ("one", "two") for i in (0, 1))
    assert max(map(len, stdout.splitlines())) <= 80


def test_a_long_table_is_printed_piece_by_piece_under_one_header(capsys):
    names, lines = ["写真 cat", "b" * 40], []

    def stream():
        for i in range(250):
            lines.extend(capsys.readouterr().out.splitlines())
            assert len(lines) >= i // 100 * 100 - 100
            classes = tuple(RankedClass(name, 0.5, seen=True) for name in names)
            yield Answer(f"{i}.png", classes) if i % 50 else Answer(f"{i}.png", error="broken")

    print_table(stream(), columns([Path("100.png")], names, (), 2))
    lines += capsys.readouterr().out.splitlines()
    assert sum("image" in line for line in lines) == 1 and max(map(cell_len, lines)) <= 80
    assert sum(".png" in line for line in lines) == 245


def test_json_is_what_the_classifier_says(adapter, photos):
    images = [photos / name / "0.png" for name in ("one", "two")]
    code, _, stdout = predict(adapter.parent, *images, "--json", "--top", 2)
    rows = json_rows(stdout)
    assert code == 0 and [row.keys() for row in rows] == [{"image", "classes"}] * 2
    classifier = FewShotClassifier.from_adapter(adapter)
    expected = classifier.predict_proba(images)
    for row, image, probabilities in zip(rows, images, expected, strict=True):
        by_name = dict(zip(classifier.classes_, probabilities.tolist(), strict=True))
        assert row["image"] == str(image) and len(row["classes"]) == 2
        assert row["classes"] == {name: round(by_name[name], 4) for name in row["classes"]}
        assert min(row["classes"].values()) >= sorted(probabilities)[-2] - 5e-5


def test_json_names_the_new_classes(adapter, photos):
    new = ["--new-class", "six", "--new-class", "a red pin"]
    code, _, stdout = predict(adapter, photos, *new, "--json", "--top", 9)
    assert code == 0
    for row in json_rows(stdout):
        assert set(row["classes"]) == {*SEEN, "six", "a red pin"}
        assert set(row["new"]) == {"six", "a red pin"}
        assert sum(row["classes"].values()) == pytest.approx(1, abs=1e-3)
    code, _, stdout = predict(adapter, photos, *new, "--only-new", "--json")
    assert {name for row in json_rows(stdout) for name in row["classes"]} == {"six", "a red pin"}


def test_the_rule_for_seen_and_new_classes_is_named(adapter, photos):
    given = ["predict", "--adapter", adapter, photos, "--new-class", "six"]
    code, text, _ = run(*given, "--seen-offset", 3.2)
    assert code == 0 and "auto: both features less 3.2 for the 3 of 4 classes seen" in text
    assert "auto" not in run(*given)[1]


def test_sets_hold_what_is_probable_enough_before_the_temperature(calibrated, adapter, photos):
    pytest.importorskip("mapie")
    given = [photos, "--json", "--top", 3]
    before = [row["classes"] for row in json_rows(predict(adapter, *given)[2])]
    code, _, stdout = predict(calibrated, *given, "--coverage", 0.9)
    assert code == 0
    for row, raw in zip(json_rows(stdout), before, strict=True):
        assert row["set"] == [name for name, share in raw.items() if share > 0.059]
        assert list(row["classes"]) == list(raw) and "rejected" not in row
        assert max(row["classes"].values()) < max(raw.values())  # a temperature of 4


@pytest.mark.parametrize(("rate", "rejected"), [(0.05, False), (0.6, True)])
def test_images_below_the_threshold_are_none_of_these(calibrated, photos, rate, rejected):
    given = [photos, "--reject", "--reject-rate", rate]
    code, _, stdout = predict(calibrated, *given, "--json")
    rows = json_rows(stdout)
    assert code == 0 and [row["rejected"] for row in rows] == [rejected] * 4
    code, text, _ = predict(calibrated, *given)
    assert text.count("none of these") == 4 * rejected


def test_judgements_have_columns_in_table_and_csv(calibrated, photos, tmp_path):
    pytest.importorskip("mapie")
    (tmp_path / "broken.png").write_text("no image")
    given = [photos, tmp_path, "--coverage", 0.9, "--reject"]
    _, text, stdout = predict(calibrated, *given)
    assert "set, 90 %" in text and max(map(len, stdout.splitlines())) <= 80
    *rows, broken = csv_rows(predict(calibrated, *given, "--csv", "--top", 1)[2])
    assert list(broken) == ["image", "class_1", "probability_1", "set", "rejected", "error"]
    assert broken["set"] == broken["rejected"] == "" and broken["error"]
    assert all(set(row["set"].split("; ")) <= set(SEEN) for row in rows)
    assert {row["rejected"] for row in rows} == {"false"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--coverage", 0.9, "--new-class", "six"], "leave out --new-class"),
        (["--reject", "--new-class", "six"], "leave out --new-class"),
        (["--coverage", 0.99], "20 images were held back"),
        (["--reject", "--reject-rate", 0.01], "20 images were held back"),
        (["--coverage", 90], "90 % is 0.9"),
        (["--seen-offset", 1], "for seen and new classes in one list"),
        (["--seen-offset", 1, "--only-new", "--new-class", "six"], "not for new or seen ones"),
    ],
)
def test_what_the_held_back_images_cannot_tell_is_refused(calibrated, photos, options, words):
    code, text, stdout = predict(calibrated, photos, *options)
    assert code == 2 and words in text and stdout == ""


@pytest.mark.parametrize("option", [["--coverage", 0.9], ["--reject"]])
def test_an_adapter_without_calibration_is_refused(adapter, photos, option):
    code, text, stdout = predict(adapter, photos, *option)
    assert code == 2 and "trained without --calibrate" in text and stdout == ""


def test_csv_has_a_column_per_rank(adapter, photos):
    code, _, stdout = predict(adapter, photos, "--csv", "--top", 2)
    (_, _, by_json) = predict(adapter, photos, "--json", "--top", 2)
    rows = csv_rows(stdout)
    assert code == 0 and len(rows) == 4
    assert list(rows[0]) == [
        "image",
        "class_1",
        "probability_1",
        "class_2",
        "probability_2",
        "error",
    ]
    for row, same in zip(rows, json_rows(by_json), strict=True):
        found = [(row[f"class_{n}"], float(row[f"probability_{n}"])) for n in (1, 2)]
        assert found == list(same["classes"].items()) and row["image"] == same["image"]
    _, _, stdout = predict(adapter, photos, "--csv", "--top", 1, "--new-class", "=six")
    assert set(csv_rows(stdout)[0]) == {"image", "class_1", "probability_1", "new_1", "error"}
    _, _, stdout = predict(adapter, photos, "--csv", "--new-class", "=six", "--only-new")
    assert all(row["class_1"] == "'=six" and row["new_1"] == "true" for row in csv_rows(stdout))


@pytest.mark.parametrize("options", [[], ["--json"], ["--csv"]])
def test_broken_files_are_listed_and_all_others_answered(adapter, photos, tmp_path, options):
    (tmp_path / "a.png").write_text("hello")
    (tmp_path / "notes.txt").write_text("hello")
    gone = tmp_path / "gone.png"
    code, text, result = run("predict", "--adapter", adapter, gone, tmp_path, photos, *options)
    assert code == 1 and "2 of 6 images cannot be read" in text
    assert f"{gone} (it does not exist)" in " ".join(result.stderr.split())
    assert "a.png (not an image" in text and "ignored 1 file: notes.txt" in text
    if options == ["--json"]:
        errors = [row["error"] for row in json_rows(result.stdout) if not row["classes"]]
    elif options == ["--csv"]:
        errors = [row["error"] for row in csv_rows(result.stdout) if not row["class_1"]]
    else:
        assert result.stdout.count("%") == 5
        return
    assert len(errors) == 2 and "it does not exist" in errors


@pytest.mark.parametrize(
    ("name", "options", "read"),
    [
        ("x.csv", [], csv_rows),
        ("sub/x.JSON", [], json.loads),
        ("x.jsonl", [], json_rows),
        ("x.txt", ["--json"], json_rows),
        ("x.txt", ["--csv"], csv_rows),
        ("x.json", ["--json"], json.loads),
    ],
)
def test_output_is_written_in_the_format_of_its_name(
    adapter, photos, tmp_path, name, options, read
):
    path = tmp_path / name
    code, text, stdout = predict(adapter, photos, "--output", path, *options)
    assert code == 0 and stdout == "", text
    assert len(read(path.read_text())) == 4 and list(path.parent.iterdir()) == [path]


def test_the_model_is_built_only_where_there_are_images(adapter, tmp_path, monkeypatch):
    monkeypatch.setattr("open_clip_mmrl.hub.load.build_from_adapter", None)
    code, text, stdout = predict(adapter, tmp_path, tmp_path / "*.png", "--json")
    assert code == 1 and "it holds no images" in text and "no file matches it" in text
    assert len(json_rows(stdout)) == 2
    code, _, stdout = predict(adapter, tmp_path)
    assert code == 1 and stdout == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only-new"], "--only-new needs new classes"),
        (["--new-class", "ONE"], "'ONE' reads like 'one', seen in training"),
        (["--json", "--csv"], "choose one"),
        (["--output", "x.png"], "name it .csv, .json or .jsonl"),
        (["--output", "x.json", "--csv"], "which is not --csv"),
        (["--output", "x.csv", "--json"], "which is not --json"),
        (["--output", ""], "empty"),
        (["--device", "tpu"], "device is 'tpu'"),
    ],
)
def test_wrong_use_is_exit_code_2(adapter, photos, options, words):
    code, text, stdout = predict(adapter, photos, *options)
    assert code == 2 and words in text and stdout == ""


def test_a_reader_that_has_enough_ends_it_silently(adapter, photos, monkeypatch):
    def closed(*args):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("open_clip_mmrl.cli.predict.write", closed)
    assert predict(adapter, photos, "--json") == (1, "", "")


@pytest.mark.parametrize(
    ("path", "width", "expected"),
    [
        ("a/b.png", 7, "a/b.png"),
        ("photos/cats/b.png", 11, "…/b.png"),
        ("photos/cats/b.png", 12, "…/cats/b.png"),
        ("a_very_long_name_0017.png", 10, "…_0017.png"),
        ("写真/写真写真.png", 10, "…写真.png"),
    ],
)
def test_long_paths_lose_their_beginning(path, width, expected):
    assert shortened(path, width) == expected
