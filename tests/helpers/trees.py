"""All fifteen data sets of the catalog, small: the real layout and file formats, drawn images.

`write_tree(root, "dtd")` writes what a user would unpack below `root`, the split file and the
original annotations both; every class has its own color.
"""

import colorsys
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import io

from open_clip_mmrl.data.coop.catalog import CATALOG, find_entry

PER_CLASS = {"train": 4, "val": 2, "test": 3}
# WordNet id and CoOp's name; the real list repeats the same two names.
IMAGENET = [
    ("n01440764", "tench"),
    ("n01443537", "goldfish"),
    ("n03773504", "missile"),
    ("n04008634", "missile"),
    ("n04355933", "sunglasses"),
    ("n04356056", "sunglasses"),
    ("n07753592", "banana"),
    ("n12620546", "rose hip"),
]
# The classes as the original files have them, in the order of the labels.
ORIGINAL = {
    "caltech101": ["Faces", "Leopards", "accordion", "airplanes", "anchor", "camera"],
    "oxford_pets": ["Abyssinian", "american_bulldog", "Bengal", "pug", "Siamese", "beagle"],
    "stanford_cars": [
        "Acura Integra Type R 2001",
        "Audi TT RS Coupe 2012",
        "BMW M3 Coupe 2012",
        "Tesla Model S Sedan 2012",
        "Volvo 240 Sedan 1993",
    ],
    "oxford_flowers": ["pink primrose", "hard-leaved pocket orchid", "sweet pea", "fire lily"],
    "food101": ["apple_pie", "baklava", "ceviche", "hot_dog", "pizza", "waffles"],
    "fgvc_aircraft": ["707-320", "A340-300", "DC-10", "F/A-18", "Spitfire", "Tu-154"],
    "sun397": ["a/abbey", "a/apse/indoor", "c/church/indoor", "c/church/outdoor", "z/zen_garden"],
    "dtd": ["banded", "dotted", "grid", "striped", "woven", "zigzagged"],
    "eurosat": ["AnnualCrop", "Forest", "Highway", "Pasture", "River", "SeaLake"],
    "ucf101": ["ApplyEyeMakeup", "BabyCrawling", "TaiChi", "YoYo", "Archery"],
}


def savemat(path: Path, content: dict) -> None:
    """Write a file as MATLAB does, compressed."""
    io.savemat(path, content, do_compression=True)


def write_tree(root, name, classes=4, per_class=None, *, split_file=True):
    """Write one data set below `root`; returns its folder.

    Args:
        classes: how many; beyond those named above they are called "Kind7".
        per_class: images of each class per split; splits left out of it have none (fgvc_aircraft
            and, without the split file, the annotations cannot have an empty split).
        split_file: whether the published split file is there.
    """
    entry = find_entry(name)
    per_class = PER_CLASS if per_class is None else {"train": 0, "val": 0, "test": 0, **per_class}
    folder = root / entry.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if entry.labels == "folders":
        _write_imagenet(entry, folder, classes, per_class)
        return folder
    known = ORIGINAL[name]
    originals = [known[i] if i < len(known) else f"Kind{i}" for i in range(classes)]
    rows = {split: [] for split in PER_CLASS}
    for label, original in enumerate(originals):
        numbers = iter(range(sum(per_class.values())))
        for split, listed in rows.items():
            for _ in range(per_class[split]):
                listed.append((*_PATH_AND_NAME[name](original, label, next(numbers), split), label))
    for listed in rows.values():
        for path, _, label in listed:
            draw_image(folder / entry.images / path, label)
    _ANNOTATIONS.get(name, lambda *_: None)(folder, rows, originals)
    if split_file and entry.labels == "split file":
        content = {
            split: [[path, label, shown] for path, shown, label in listed]
            for split, listed in rows.items()
        }
        (folder / entry.files[-1]).write_text(json.dumps(content))
    return folder


def write_all(root, **kwargs):
    for name in CATALOG:
        write_tree(root, name, **kwargs)


def draw_image(path, label):
    """Write a 24 x 24 image in the colors of a class, with a disc whose place differs by file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (24, 24), ground(label))
    x, y = np.random.default_rng([label, *path.name.encode()]).integers(4, 12, 2)
    ImageDraw.Draw(image).ellipse((x, y, x + 9, y + 9), fill=ground(label, light=0.95))
    image.save(path)


def ground(label, light=0.4):
    """The color of a class, RGB from 0 to 255; that of its disc is the lighter one."""
    return tuple(int(255 * value) for value in colorsys.hsv_to_rgb(label * 0.382 % 1, 0.9, light))


def _write_imagenet(entry, folder, classes, per_class):
    known = IMAGENET + [(f"n2{i:07d}", f"kind {i}") for i in range(len(IMAGENET), classes)]
    lines = "".join(f"{wnid} {shown}\n" for wnid, shown in known)
    (folder / "classnames.txt").write_text(lines)
    (folder / entry.images).mkdir()
    (folder / entry.images / "README.txt").write_text("not a class\n")
    folders = {"train/": "train", "val/": "test"} if entry.name == "imagenet" else {"": "test"}
    for label, (wnid, _) in enumerate(known[:classes]):
        inside = str(label) if entry.name == "imagenetv2" else wnid
        for place, split in folders.items():
            for number in range(per_class[split]):
                image = f"{place}{inside}/{wnid}_{number}.JPEG"
                draw_image(folder / entry.images / image, label)


def _car(original, label, number, split):
    model, _, year = original.rpartition(" ")
    images = "cars_test" if split == "test" else "cars_train"
    return f"{images}/{label:03d}{number:02d}.jpg", f"{year} {model}".strip()


def _scene(original, label, number, split):
    names = original.split("/")[1:] or [original]
    return f"{original}/sun_{number}.jpg", " ".join(reversed(names))


def _action(original, label, number, split):
    shown = "".join(f"_{c}" if c.isupper() else c for c in original).lstrip("_")
    return f"{shown}/v_{original}_g{number:02d}_c01.jpg", shown


_NEW_NAMES = {"Faces": "face", "Leopards": "leopard", "airplanes": "airplane"} | {
    "AnnualCrop": "Annual Crop Land",
    "Highway": "Highway or Road",
    "Pasture": "Pasture Land",
    "SeaLake": "Sea or Lake",
}


def _by_folder(original, label, number, split):
    return f"{original}/{original}_{number}.jpg", _NEW_NAMES.get(original, original)


_PATH_AND_NAME = {
    **dict.fromkeys(("caltech101", "food101", "dtd", "eurosat"), _by_folder),
    "oxford_pets": lambda original, label, n, split: (f"{original}_{n}.jpg", original.lower()),
    "stanford_cars": _car,
    # Numbered through, as imagelabels.mat needs it: 100 places per class are more than enough.
    "oxford_flowers": lambda original, label, n, split: (f"{label}-{n}.jpg", original),
    "fgvc_aircraft": lambda original, label, n, split: (f"{label:03d}{n:04d}.jpg", original),
    "sun397": _scene,
    "ucf101": _action,
}


def _lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def _caltech(folder, rows, originals):
    for category in ("BACKGROUND_Google", "Faces_easy"):
        draw_image(folder / "101_ObjectCategories" / category / "image_0001.jpg", 90)


def _pets(folder, rows, originals):
    for file, listed in {
        "trainval": rows["train"] + rows["val"],
        "test": rows["test"],
    }.items():
        lines = (f"{path[:-4]} {label + 1} 1 1" for path, _, label in listed)
        _lines(folder / "annotations" / f"{file}.txt", lines)


def _cars(folder, rows, originals):
    def annotations(listed):
        fields = [("bbox_x1", "O"), ("class", "O"), ("fname", "O")]
        values = [(1, label + 1, path.split("/")[1]) for path, _, label in listed]
        return {"annotations": np.array(values, dtype=fields)[None]}

    (folder / "devkit").mkdir(exist_ok=True)
    for images in ("cars_train", "cars_test"):
        (folder / images).mkdir(exist_ok=True)
    names = np.array(originals, dtype=object)[None]
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})
    trainval = rows["train"] + rows["val"]
    savemat(folder / "devkit" / "cars_train_annos.mat", annotations(trainval))
    savemat(folder / "cars_test_annos_withlabels.mat", annotations(rows["test"]))


def _flowers(folder, rows, originals):
    """Images get their numbers here; the rows are renamed with them."""
    labels = []
    for listed in rows.values():
        for index, (path, shown, label) in enumerate(listed):
            labels.append(label + 1)
            numbered = f"image_{len(labels):05d}.jpg"
            (folder / "jpg" / path).rename(folder / "jpg" / numbered)
            listed[index] = (numbered, shown, label)
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    names = {str(label): shown for label, shown in enumerate(originals, start=1)}
    (folder / "cat_to_name.json").write_text(json.dumps(names))


def _aircraft(folder, rows, originals):
    _lines(folder / "variants.txt", originals)
    for split, listed in rows.items():
        lines = (f"{path[:-4]} {shown}" for path, shown, _ in listed)
        _lines(folder / f"images_variant_{split}.txt", lines)


def _sun(folder, rows, originals):
    _lines(folder / "ClassName.txt", (f"/{original}" for original in originals))
    for file, listed in {
        "Training_01": rows["train"] + rows["val"],
        "Testing_01": rows["test"],
    }.items():
        _lines(folder / f"{file}.txt", (f"/{path}" for path, _, _ in listed))


def _ucf(folder, rows, originals):
    lists = folder / "ucfTrainTestlist"
    _lines(lists / "classInd.txt", (f"{n} {original}" for n, original in enumerate(originals, 1)))

    def videos(listed):
        for path, _, label in listed:
            yield f"{originals[label]}/{path.split('/')[1][:-4]}.avi", label + 1

    trainval = rows["train"] + rows["val"]
    _lines(lists / "trainlist01.txt", (f"{video} {label}" for video, label in videos(trainval)))
    _lines(lists / "testlist01.txt", (video for video, _ in videos(rows["test"])))


_ANNOTATIONS = {
    "caltech101": _caltech,
    "oxford_pets": _pets,
    "stanford_cars": _cars,
    "oxford_flowers": _flowers,
    "fgvc_aircraft": _aircraft,
    "sun397": _sun,
    "ucf101": _ucf,
}
