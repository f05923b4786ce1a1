"""Which features "auto" stands for."""

import pytest

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.evaluation.choose_features import choose_features


@pytest.mark.parametrize(
    ("classes", "seen", "features", "words"),
    [
        (["cat", "dog"], ["dog", "cat", "cow"], "fused", "all 2 classes were seen"),
        (["cat"], ["cat"], "fused", "all 1 classes were seen"),
        (["emu", "fox", "gnu"], ["cat"], "class", "none of the 3 classes was seen"),
        (["baby grand"], ["baby_grand"], "fused", "all 1 classes were seen"),
    ],
)
def test_auto_chooses_by_what_was_seen(classes, seen, features, words):
    assert choose_features("auto", iter(classes), iter(seen)).features == features
    assert words in choose_features("auto", classes, seen).reason


@pytest.mark.parametrize("requested", ["class", "fused", "frozen"])
def test_a_request_decides(requested):
    for seen in (["cat"], [], ["cat", "emu"]):
        found = choose_features(requested, ["cat", "emu"], seen)
        assert found.features == requested and "as given" in found.reason
        assert found.seen is None


def test_auto_takes_seen_and_new_classes_one_by_one():
    found = choose_features("auto", ["cat", "emu", "fox"], ["cat", "cow"])
    assert (found.features, found.seen) == ("fused", (True, False, False))
    assert "both features for the 1 of 3 classes seen in training" in found.reason
    assert "2 new ones (emu, fox)" in found.reason


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ({"centered": True}, "centered", "less what the mean of the held-back images scores"),
        ({"centered": True, "seen_offset": 3.2}, "mixed", "both features less 3.2 for the 1 of 2"),
        ({"seen_offset": 0.0}, "mixed", "both features for the 1 of 2 classes"),
    ],
)
def test_seen_and_new_classes_compare_by_the_mean_image_or_an_offset(how, kind, words):
    found = choose_features("auto", ["cat", "emu"], ["cat"], **how)
    scoring = found.scoring(0.7, "logits")
    assert found.kind == kind and words in found.reason
    assert scoring.centered == (kind == "centered")
    assert scoring.seen_offset == (0 if scoring.centered else how["seen_offset"])
    assert choose_features("auto", ["cat"], ["cat"], **how).kind == "fused"


@pytest.mark.parametrize(
    ("features", "offset", "words"),
    [
        ("fused", 1.0, "not for --features fused: leave one"),
        ("auto", float("inf"), "is inf; give a finite"),
    ],
)
def test_offsets_that_mean_nothing(features, offset, words):
    with pytest.raises(UsageError, match=words):
        choose_features(features, ["cat", "emu"], ["cat"], seen_offset=offset)


def test_an_unknown_request():
    with pytest.raises(UsageError, match=r"features is 'both'.*auto or one of .*'frozen'"):
        choose_features("both", ["cat"], ["cat"])


def test_auto_needs_the_adapter_to_name_its_classes():
    with pytest.raises(UsageError, match=r"names no classes.*--features fused"):
        choose_features("auto", ["emu"], [])


def test_auto_compares_what_the_model_reads_of_the_names():
    found = choose_features(
        "auto", ["Cat", "DOG"], ["cat", "dog"], lambda n: list(map(str.lower, n))
    )
    assert found.features == "fused"
    assert choose_features("auto", ["Cat", "DOG"], ["cat", "dog"]).features == "class"
