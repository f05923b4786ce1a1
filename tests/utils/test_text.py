import pytest

from open_clip_mmrl.utils.text import did_you_mean, listing


@pytest.mark.parametrize(
    ("names", "limit", "text"),
    [
        ([], 8, ""),
        (["a", 2], 8, "a, 2"),
        (range(8), 8, "0, 1, 2, 3, 4, 5, 6, 7"),
        (range(20), 2, "0, 1 and 18 more"),
    ],
)
def test_a_long_list_is_cut_and_the_rest_is_counted(names, limit, text):
    assert listing(names, limit) == text


@pytest.mark.parametrize(
    ("name", "choices", "text"),
    [
        ("epoch", ("lr", "epochs"), " Did you mean epochs?"),
        ("digits", ("Digits",), " Did you mean Digits?"),
        ("ViT-B-61", ("ViT-B-16", "ViT-B-32", "RN50"), " Did you mean ViT-B-16 or ViT-B-32?"),
        ("zzz", ("lr", "epochs"), ""),
        ("lr", (), ""),
    ],
)
def test_near_choices_are_suggested_nearest_first(name, choices, text):
    assert did_you_mean(name, choices) == text
