import shutil

import pytest
from PIL import Image

from open_clip_mmrl.data import FolderOptions, Trained, load_data, read_image


@pytest.fixture
def root(tmp_path, write_image):
    for split, color in (("train", "red"), ("test", "blue")):
        for name in ("cat", "Dog"):
            write_image(tmp_path / split / name / "b.png", color)
            write_image(tmp_path / split / name / "a.JPEG", color)
    return tmp_path


def names(split):
    return [(example.image.parent.name, example.image.name, example.label) for example in split]


def test_classes_and_files_are_sorted(root):
    data = load_data(f"folder:{root}")
    assert data.class_names == ("Dog", "cat")
    assert (
        names(data.train)
        == names(data.test)
        == [
            ("Dog", "a.JPEG", 0),
            ("Dog", "b.png", 0),
            ("cat", "a.JPEG", 1),
            ("cat", "b.png", 1),
        ]
    )
    assert data.val == ()
    assert data.template == "a photo of a {}."
    assert data.spec == f"folder:{root}"
    assert read_image(data.train[0]).size == (6, 4)


def test_val_is_read_where_there_is_one_and_may_leave_classes_out(root, write_image):
    write_image(root / "val" / "cat" / "v.webp")
    assert names(load_data(f"folder:{root}").val) == [("cat", "v.webp", 1)]


def test_what_is_ignored_is_counted_and_named_once(root, write_image, caplog):
    load_data(f"folder:{root}")
    assert not caplog.messages
    write_image(root / "train" / "cat" / ".hidden.png")
    write_image(root / "train" / "cat" / "deeper" / "c.png")
    write_image(root / "train" / ".cache" / "c.png")
    (root / "test" / "Dog" / "notes.txt").write_text("notes")
    (root / "test" / "Dog" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    assert len(load_data(f"folder:{root}").train) == 4
    (message,) = caplog.messages
    assert message == (
        f"{root}: ignored 2 hidden or system files and 3 files: train/cat/deeper/c.png, "
        "test/Dog/gone.jpg (a broken link), test/Dog/notes.txt. With --nested, each folder that "
        "holds images is a class"
    )


def test_suffixes_that_cameras_and_programs_write_are_read(root):
    folder = root / "train" / "cat"
    for name in ("c.jfif", "d.jpe", "scan"):
        shutil.copy(folder / "a.JPEG", folder / name)
    found = [example.image.name for example in load_data(f"folder:{root}").train]
    assert found == ["a.JPEG", "b.png", "a.JPEG", "b.png", "c.jfif", "d.jpe", "scan"]


def test_a_camera_s_orientation_is_applied(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(root / "train" / "cat" / "phone.jpg", exif=exif)
    example = load_data(f"folder:{root}").train[-1]
    assert read_image(example).size == (4, 6)


@pytest.mark.parametrize(("here", "there"), [("cat", "Cat"), ("caf\u00e9", "cafe\u0301")])
def test_classes_that_differ_in_case_or_unicode_form_are_named(root, write_image, here, there):
    write_image(root / "train" / here / "a.png")
    shutil.rmtree(root / "test" / "cat")
    write_image(root / "test" / there / "a.png")
    with pytest.raises(ValueError, match=r"differ in upper and lower case.*Unicode form.*Rename"):
        load_data(f"folder:{root}")


def test_home_is_expanded(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert load_data(f"folder:~/{root.name}").num_classes == 2


def test_missing_path(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere does not exist; give a folder that holds one"):
        load_data(f"folder:{tmp_path / 'nowhere'}")


def test_no_class_folders(tmp_path, write_image):
    write_image(tmp_path / "train" / "loose.png")
    with pytest.raises(ValueError, match="train holds no class folders"):
        load_data(f"folder:{tmp_path}")


def test_empty_folders_are_ignored_and_counted(root, caplog):
    caplog.set_level("INFO")
    (root / "train" / "eel").mkdir()
    (root / "test" / "fox" / "deeper").mkdir(parents=True)
    assert load_data(f"folder:{root}").class_names == ("Dog", "cat")
    assert caplog.messages == [f"{root}: ignored 2 empty folders"]


def test_class_folder_without_images_says_so(root):
    for split in ("train", "test"):
        (root / split / "eel").mkdir()
        (root / split / "eel" / "notes.txt").write_text("notes")
    with pytest.raises(ValueError, match=r"eel holds no images, only notes\.txt"):
        load_data(f"folder:{root}")


def test_one_class_only(root):
    shutil.rmtree(root / "train" / "cat")
    shutil.rmtree(root / "test" / "cat")
    with pytest.raises(ValueError, match=r"classes: Dog; .*at least two"):
        load_data(f"folder:{root}")


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train", "classes in train but not in test: eel, fox; add their folders to test"),
        ("test", "classes in test but not in train: eel, fox; add their folders to train"),
        ("val", "classes in val but not in train: eel, fox"),
    ],
)
def test_classes_that_do_not_match_are_named(root, write_image, split, words):
    write_image(root / split / "fox" / "a.png")
    write_image(root / split / "eel" / "a.png")
    with pytest.raises(ValueError, match=words):
        load_data(f"folder:{root}")


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_the_other_split_is_the_test_split_where_there_is_no_test(root, caplog, name):
    caplog.set_level("INFO")
    (root / "test").rename(root / name)
    data = load_data(f"folder:{root}")
    assert len(data.test) == 4 and data.val == () and data.drawn is None
    assert f"there is no test, so that {name} is the test split" in caplog.text


def test_a_class_may_be_called_train(tmp_path, write_image):
    for name in ("bus", "train"):
        for color in range(2):
            path = write_image(tmp_path / name / f"{color}.png")
            Image.new("RGB", (color + 1, len(name))).save(path)
    assert load_data(f"folder:{tmp_path}").class_names == ("bus", "train")


def test_nested_classes_have_their_last_name_or_where_it_repeats_their_path(root, write_image):
    for split in ("train", "test"):
        write_image(root / split / "wild" / "cat" / "a.png")
        write_image(root / split / "wild" / "big" / "lion" / "a.png")
    with pytest.raises(ValueError, match=r"only in folders below: wild; with --nested"):
        load_data(f"folder:{root}")
    data = load_data(f"folder:{root}", folder=FolderOptions(nested=True))
    assert data.class_names == ("Dog", "cat", "lion", "wild/cat")


def test_names_of_a_file_take_the_folders_places(root):
    names = {"Dog": "a hound", "cat": "a tabby"}
    data = load_data(f"folder:{root}", folder=FolderOptions(class_names=names))
    assert data.class_names == ("a hound", "a tabby")
    scored = FolderOptions(trained=Trained(class_names={"cat": "a tabby"}))
    assert load_data(f"folder:{root}", folder=scored).class_names == ("Dog", "a tabby")
    with pytest.raises(ValueError, match="class_names belong to folder:PATH"):
        load_data("digits", folder=FolderOptions(class_names=names))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (["a.png"], "holds 1 image but no class folders; put the images of each class"),
        ([], "is empty"),
        (["train/cat/a.png", "train/dog/a.png", "eel/a.png"], "images in other folders: eel"),
        (["set/cat/a.png", "set/dog/a.png"], "or did you mean folder:.*set?"),
        (["train/c/a.png", "val/c/a.png", "valid/c/a.png"], "val and valid.*keep one"),
        (["cat/a.png"], "needs at least two"),
    ],
)
def test_other_layouts_are_refused_with_the_remedy(tmp_path, write_image, make, words):
    for path in make:
        write_image(tmp_path / path)
    with pytest.raises(ValueError, match=words):
        load_data(f"folder:{tmp_path}")
