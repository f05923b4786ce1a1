import pytest

from open_clip_mmrl import data
from open_clip_mmrl.data import load_data


def test_template_overrides():
    assert load_data("digits", template="the number [CLASS]").template == "the number {}"


def test_a_wrong_template_is_found_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="no place for the class name"):
        load_data(f"folder:{tmp_path / 'nowhere'}", template="a photo")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("digit", r"unknown data 'digit'\. Did you mean digits\? The forms are:"),
        ("Digits", r"Did you mean digits\?"),
        ("fodler:x", r"Did you mean folder\?"),
        ("oxford_pets", r"Did you mean coop:oxford_pets\?"),
        ("fer2013", r"Did you mean clip_benchmark:fer2013\?"),
        ("https://host/x", r"Did you mean wds:https://host/x\?"),
        ("imagefolder", "unknown data 'imagefolder'"),
        ("~nobody.here/images", "unknown data '~nobody.here/images'"),
        ("", "unknown data ''"),
        ("folder", "'folder' must be written folder:PATH"),
        ("folder:", "'folder:' must be written folder:PATH"),
        ("coop:", "'coop:' must be written coop:NAME"),
        ("wds:", "'wds:' must be written wds:PATH_OR_URL"),
        ("clip_benchmark", "'clip_benchmark' must be written clip_benchmark:NAME"),
        ("digits:", "'digits:' must be written digits"),
        ("digits:3", "'digits:3' must be written digits"),
        (None, "data is None, not a string"),
    ],
)
def test_unknown_forms(spec, words):
    with pytest.raises(ValueError, match=words) as error:
        load_data(spec)
    forms = ("digits:", "folder:PATH:", "coop:NAME:", "wds:PATH_OR_URL:", "clip_benchmark:NAME:")
    for form in forms:
        assert f"\n  {form} " in str(error.value)


def test_a_bare_path_is_a_folder_or_shards(tmp_path):
    with pytest.raises(ValueError, match=r"Did you mean folder:.*\?"):
        load_data(str(tmp_path))
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "nshards.txt").touch()
    with pytest.raises(ValueError, match=r"Did you mean wds:.*\?"):
        load_data(str(tmp_path))


def test_public_names_exist():
    assert all(hasattr(data, name) for name in data.__all__)
