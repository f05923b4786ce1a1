"""No text of any picture covers another one or is cut off, whatever the results are."""

import random

import pytest
from helpers.figures import cut_off, overlapping
from helpers.made_results import SWEEPS, ablation, base_to_novel, few_shot, write_runs

from open_clip_mmrl.report.compose import compose
from open_clip_mmrl.report.load.collect import collect

METHODS = ("zeroshot", "linear_probe", "mmrl", "mmrl++")
LONG = ("a-data-set-with-a-very-long-name-of-2024", "another_long_name_of_a_folder_of_pictures")


def few_shots(names, shots):
    return [
        few_shot(method, name, 64 if k == "all" else k, 1, shots=k)
        for method in METHODS for name in names for k in shots
    ]  # fmt: skip


def by_hand(count, **changes):
    return [
        few_shot("mmrl", "mine", 16, 1, settings_source="custom", train={"lr": i + 1.0}, **changes)
        for i in range(count)
    ]


def curve(kind, seed):
    """Return accuracies over alpha: an arc, noise, a line, a point."""
    draw = random.Random(seed).gauss
    shapes = {
        "arc": lambda t: (80 - 6 * (t - 0.7) ** 2, 70 - 9 * (1 - t) ** 1.5),
        "noise": lambda t: (80 + draw(0, 1), 70 + draw(0, 1)),
        "line": lambda t: (80.0, 70 + 5 * t),
        "point": lambda t: (80.0, 70.0),
    }
    found = ((step / 10, *shapes[kind](step / 10)) for step in range(11))
    return [{"alpha": alpha, "base": base, "novel": novel} for alpha, base, novel in found]


CASES = {
    "usual shots": few_shots(["digits"], [1, 2, 4, 8, 16]),
    "odd and all shots, long names": few_shots(LONG, [1, 3, 5, 100, 1000, "all"]),
    "long names": [base_to_novel(m, name, 1) for m in METHODS for name in (*LONG, "x")],
    "curves of alpha": [
        base_to_novel(m, f"{kind}{i}", 1, alpha_curve=curve(kind, f"{m}{i}"))
        for m in ("mmrl", "mmrl++")
        for kind in ("arc", "noise", "line", "point")
        for i in (0, 1)
    ],
    "bars of nothing": [
        ablation("variant", v, "dtd", 1, metrics={"base": 80.0, "novel": 70.0, "hm": 74.7})
        for v in SWEEPS["variant"]
    ],
    "many values": [ablation("reg_weight", v / 8, n, 1) for n in "ab" for v in range(16)],
    "many runs": by_hand(40),
    "runs that are alike": by_hand(2, metrics={"accuracy": 0.0}, zero_shot={"accuracy": 0.0}),
}


@pytest.mark.parametrize("case", CASES)
def test_no_text_covers_another_or_is_cut_off(case, tmp_path):
    pictures = list(compose(collect([write_runs(tmp_path, CASES[case])])).pictures())
    assert pictures
    for picture in pictures:
        assert overlapping(picture.figure) == [], picture.name
        assert cut_off(picture.figure) == [], picture.name


def test_no_difference_does_not_look_like_one(tmp_path):
    contents = CASES["bars of nothing"]
    pictures = compose(collect([write_runs(tmp_path, contents)])).pictures()
    (bars,) = (picture for picture in pictures if picture.name.endswith("bars"))
    low, high = bars.figure.axes[0].get_ylim()
    assert high - low >= 1
