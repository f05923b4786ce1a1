"""The paper's fifteen data sets: places in the CoOp layout, prompts, counts. Nothing is read.

Places and sources: DATASETS.md of github.com/KaiyangZhou/CoOp. Prompts and counts: Table 7 of the
MMRL paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..dataset import SPLITS
from ..prompts import DEFAULT_TEMPLATE

Labels = Literal["split file", "lists", "folders"]
Family = Literal["few-shot", "domain shift"]

CLASS_NAMES = "classnames.txt"
IMAGENET = "imagenet"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set.

    Attributes:
        name, title: what follows `coop:`, and the name in the paper's tables.
        folder: below the data root.
        images: the image folder, below `folder`; "." for `folder` itself.
        files: what else has to be in `folder`.
        source: where images and annotations come from.
        labels: where labels and splits come from: one split file (in `files`; without it a split
            is drawn), the authors' lists, or the folders the images are in.
        template: the paper's prompt.
        counts: classes, and images for training, validation and testing; 0 for the paper's "~".
        family: one of the eleven to train on, or one of ImageNet's four test-only relatives.
    """

    name: str
    title: str
    folder: str
    images: str
    files: tuple[str, ...]
    source: str
    labels: Labels = "split file"
    template: str = DEFAULT_TEMPLATE
    counts: tuple[int, int, int, int]
    family: Family = "few-shot"

    @property
    def places(self) -> tuple[str, ...]:
        """All files and folders that it needs, below the data root; folders end in "/"."""
        images = [f"{self.folder}/{self.images}/"] if self.images != "." else []
        if self.name == IMAGENET:
            images = [f"{images[0]}{folder}/" for folder in ("train", "val")]
        return (*images, *(f"{self.folder}/{file}" for file in self.files))

    @property
    def sizes(self) -> dict[str, int]:
        """The counts by name: "classes", "train", "val", "test"."""
        return dict(zip(("classes", *SPLITS), self.counts, strict=True))


def find_entry(name: str) -> Entry | None:
    """Find an entry by name, or by folder, so that "food-101" is not read with another prompt."""
    return CATALOG.get(name) or _BY_FOLDER.get(name)


def names(family: Family) -> list[str]:
    """Return the names of the data sets of one family, in the paper's order."""
    return [entry.name for entry in CATALOG.values() if entry.family == family]


_ENTRIES = (
    Entry(
        name=IMAGENET,
        title="ImageNet",
        folder="imagenet",
        images="images",
        files=(CLASS_NAMES,),
        source="https://image-net.org (ILSVRC 2012)",
        labels="folders",
        counts=(1000, 1_281_167, 0, 50_000),  # train: ILSVRC 2012; the paper has 1.28M
    ),
    Entry(
        name="caltech101",
        title="Caltech101",
        folder="caltech-101",
        images="101_ObjectCategories",
        files=("split_zhou_Caltech101.json",),
        source="https://data.caltech.edu/records/mzrjq-6wc02",
        counts=(100, 4128, 1649, 2465),
    ),
    Entry(
        name="oxford_pets",
        title="OxfordPets",
        folder="oxford_pets",
        images="images",
        files=("split_zhou_OxfordPets.json",),
        source="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        template="a photo of a {}, a type of pet.",
        counts=(37, 2944, 736, 3669),
    ),
    Entry(
        name="stanford_cars",
        title="StanfordCars",
        folder="stanford_cars",
        images=".",
        files=("cars_train/", "cars_test/", "split_zhou_StanfordCars.json"),
        source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
        counts=(196, 6509, 1635, 8041),
    ),
    Entry(
        name="oxford_flowers",
        title="Flowers102",
        folder="oxford_flowers",
        images="jpg",
        files=("split_zhou_OxfordFlowers.json",),
        source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        template="a photo of a {}, a type of flower.",
        counts=(102, 4093, 1633, 2463),
    ),
    Entry(
        name="food101",
        title="Food101",
        folder="food-101",
        images="images",
        files=("split_zhou_Food101.json",),
        source="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        template="a photo of {}, a type of food.",
        counts=(101, 50_500, 20_200, 30_300),
    ),
    Entry(
        name="fgvc_aircraft",
        title="FGVCAircraft",
        folder="fgvc_aircraft",
        images="images",
        files=(
            "variants.txt",
            "images_variant_train.txt",
            "images_variant_val.txt",
            "images_variant_test.txt",
        ),
        source="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/ (its folder data)",
        labels="lists",
        template="a photo of a {}, a type of aircraft.",
        counts=(100, 3334, 3333, 3333),
    ),
    Entry(
        name="sun397",
        title="SUN397",
        folder="sun397",
        images="SUN397",
        files=("split_zhou_SUN397.json",),
        source="https://vision.princeton.edu/projects/2010/SUN/",
        counts=(397, 15_880, 3970, 19_850),
    ),
    Entry(
        name="dtd",
        title="DTD",
        folder="dtd",
        images="images",
        files=("split_zhou_DescribableTextures.json",),
        source="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        template="{} texture.",
        counts=(47, 2820, 1128, 1692),
    ),
    Entry(
        name="eurosat",
        title="EuroSAT",
        folder="eurosat",
        images="2750",
        files=("split_zhou_EuroSAT.json",),
        source="https://github.com/phelber/EuroSAT (RGB)",
        template="a centered satellite photo of {}.",
        counts=(10, 13_500, 5400, 8100),
    ),
    Entry(
        name="ucf101",
        title="UCF101",
        folder="ucf101",
        images="UCF-101-midframes",
        files=("split_zhou_UCF101.json",),
        source="https://www.crcv.ucf.edu/data/UCF101.php (middle frames: CoOp's DATASETS.md)",
        template="a photo of a person doing {}.",
        counts=(101, 7639, 1898, 3783),
    ),
    Entry(
        name="imagenetv2",
        title="ImageNetV2",
        folder="imagenetv2",
        images="imagenetv2-matched-frequency-format-val",
        files=(CLASS_NAMES,),
        source="https://github.com/modestyachts/ImageNetV2 (matched-frequency)",
        labels="folders",
        counts=(1000, 0, 0, 10_000),
        family="domain shift",
    ),
    Entry(
        name="imagenet_sketch",
        title="ImageNet-Sketch",
        folder="imagenet-sketch",
        images="images",
        files=(CLASS_NAMES,),
        source="https://github.com/HaohanWang/ImageNet-Sketch",
        labels="folders",
        counts=(1000, 0, 0, 50_889),
        family="domain shift",
    ),
    Entry(
        name="imagenet_a",
        title="ImageNet-A",
        folder="imagenet-adversarial",
        images="imagenet-a",
        files=(CLASS_NAMES,),
        source="https://github.com/hendrycks/natural-adv-examples",
        labels="folders",
        counts=(200, 0, 0, 7500),
        family="domain shift",
    ),
    Entry(
        name="imagenet_r",
        title="ImageNet-R",
        folder="imagenet-rendition",
        images="imagenet-r",
        files=(CLASS_NAMES,),
        source="https://github.com/hendrycks/imagenet-r",
        labels="folders",
        counts=(200, 0, 0, 30_000),
        family="domain shift",
    ),
)
CATALOG = {entry.name: entry for entry in _ENTRIES}
_BY_FOLDER = {entry.folder: entry for entry in _ENTRIES}
