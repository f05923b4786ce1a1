import pytest

from open_clip_mmrl.utils.text import counted, csv_cell, did_you_mean, in_words, listing, printable


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Katze \N{CAT FACE} :cat: [b]", "Katze \N{CAT FACE} :cat: [b]"),
        ("a\x1b[31mb\x07\x9b1m\r", "a\\x1b[31mb\\x07\\x9b1m\\r"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("gpj.\u202ecat", "gpj.\\u202ecat"),
        ("not UTF-8: \udcff", "not UTF-8: \\udcff"),
    ],
)
def test_what_could_command_a_terminal_is_escaped(text, shown):
    assert printable(text) == shown


def test_a_name_stays_in_its_line():
    assert printable("a\nb", keep="") == "a\\nb"


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|x", "-a", "@SUM(A1)", "\t=1", "\r=1", " =1", "-1.5x"]
)
def test_formulas_in_csv_are_text(text):
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-1.5", "+2", "-.5e-3", "-", "cat", "a=b", "", None, -1.5, 3])
def test_numbers_and_words_in_csv_stay(value):
    assert csv_cell(value) == value


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1 shot"), (0, "0 shots"), (1600, "1,600 shots"), ("1", "1 shot")]
)
def test_one_is_singular(number, text):
    assert counted(number, "shot") == text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (40, "40 s"), (600, "10 min"), (5400, "1.5 h"), (200000, "2.3 days")],
)
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words
