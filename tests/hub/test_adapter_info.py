"""What held-back images told, in an adapter's header."""

from dataclasses import replace

import pytest
from helpers.tiny import tiny_mmrl

from open_clip_mmrl import load_adapter, read_adapter_info, save_adapter
from open_clip_mmrl.hub.adapter_header import MAX_HELD_BACK, check_header
from open_clip_mmrl.hub.adapter_info import Calibration
from open_clip_mmrl.hub.adapter_reading import read_adapter
from open_clip_mmrl.utils.digest import json_digest

EMBED = 10
CALIBRATION = Calibration(
    held_back="shots",
    temperature={"logits": 0.5, "probabilities": 1.25},
    true_probability={"logits": [0.9, 0.1, 0.3], "probabilities": [1.0, 0.0, 1 / 3]},
    max_softmax=[0.4, 0.5, 0.6],
    image_means={name: [0.1] * EMBED for name in ("class", "representation", "frozen")},
)


@pytest.fixture
def saved(tmp_path):
    return save_adapter(tiny_mmrl(), tmp_path / "a.safetensors", calibration=CALIBRATION)


def parse(header):
    check_header(header)
    return Calibration.from_header(header["calibration"])


def test_a_calibration_is_kept_to_the_last_bit(saved):
    assert read_adapter(saved).calibration == CALIBRATION
    assert load_adapter(tiny_mmrl(), saved)["calibration"]["held_back"] == "shots"


def test_an_adapter_without_calibration_has_no_key_of_it(tmp_path):
    path = save_adapter(tiny_mmrl(), tmp_path / "a.safetensors")
    assert "calibration" not in read_adapter_info(path)
    assert read_adapter(path).calibration is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["max_softmax"].__setitem__(0, 0.41), "calibration is damaged"),
        (lambda c: c["temperature"].update(logits=2), "calibration is damaged"),
        (lambda c: c["temperature"].update(logits=0), "logits is no number above 0"),
        (lambda c: c["temperature"].clear(), "without logits"),
        (lambda c: c.update(held_back="test"), "held_back is no one of"),
        (lambda c: c["max_softmax"].reverse(), "max_softmax that does not ascend"),
        (lambda c: c["max_softmax"].append(0.7), "lists of different lengths"),
        (lambda c: c.update(max_softmax=[]), "max_softmax is no list of 1 to 5,000"),
        (lambda c: c.update(max_softmax=[0.5] * (MAX_HELD_BACK + 1)), "1 to 5,000"),
        (lambda c: c["true_probability"].update(logits=[2.0]), "logits is no list .* from 0 to 1"),
        (lambda c: c.pop("sha256"), "without sha256"),
        (lambda c: c["image_means"].pop("class"), "without class"),
        (lambda c: c["image_means"].update(frozen=[0.1]), "frozen is no list of "),
    ],
)
def test_damage_to_a_calibration_is_named(saved, change, words):
    header = read_adapter_info(saved)
    change(header["calibration"])
    with pytest.raises(ValueError, match=words):
        parse(header)


def test_a_calibration_of_before_the_mean_image_is_read():
    earlier = replace(CALIBRATION, image_means=None)
    assert "image_means" not in earlier.to_header()
    assert Calibration.from_header(earlier.to_header()) == earlier


def test_keys_of_later_versions_are_ignored_but_belong_to_the_digest():
    later = {**CALIBRATION.to_header(), "later": 1}
    later["sha256"] = json_digest(later, "sha256")
    assert Calibration.from_header(later) == CALIBRATION


def test_a_full_calibration_is_small():
    many = [1 / 3] * MAX_HELD_BACK
    found = Calibration("val", {}, {"logits": many, "probabilities": many}, many)
    assert len(str(found.to_header())) < 320_000
