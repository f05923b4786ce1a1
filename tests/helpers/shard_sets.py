"""Small data sets on disk in clip_benchmark's layouts, and adapters on the shipped CLIP."""

import io
import json
from pathlib import Path

import numpy as np
import open_clip
import webdataset
from PIL import Image

import open_clip_mmrl
from helpers.tiny import shake
from open_clip_mmrl.assets import MODEL_NAME, TAG

OURS = f"mmrl-{MODEL_NAME}"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def pictures(count=30, seed=0):
    """Real digits of scikit-learn, in order, as PIL images with their labels."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))[:count]
    for i in order:
        gray = np.uint8(255 - pixels[i].reshape(8, 8) / 16 * 255)
        yield Image.fromarray(gray).resize((32, 32)).convert("RGB"), int(labels[i])


def png(image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "png")
    return stream.getvalue()


def write_split(root: Path, split: str, samples, per_shard=16) -> None:
    folder = root / split
    folder.mkdir(parents=True)
    with webdataset.ShardWriter(f"{folder}/%d.tar", maxcount=per_shard, verbose=False) as writer:
        for i, sample in enumerate(samples):
            writer.write({"__key__": f"{i:05d}", **sample})
    (folder / "nshards.txt").write_text(str(len(list(folder.glob("*.tar")))))


def write_texts(root: Path, **texts) -> Path:
    """`classnames=[...]` and so on -> root/classnames.txt, one a line."""
    for name, lines in texts.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def single_label(root: Path, count=30, names=DIGITS) -> Path:
    """Digits with one label each, train and test."""
    for split, seed in (("test", 0), ("train", 1)):
        samples = [{"png": png(image), "cls": str(label)} for image, label in pictures(count, seed)]
        write_split(root, split, samples)
    templates = ["a photo of the number {c}.", "the digit {c}."]
    return write_texts(root, classnames=names, zeroshot_classification_templates=templates)


def multi_label(root: Path, count=30) -> Path:
    """Digits with their label and that of the next digit."""
    samples = []
    for image, label in pictures(count):
        target = np.zeros(10, dtype=np.int64)
        target[[label, (label + 1) % 10]] = 1
        stream = io.BytesIO()
        np.save(stream, target)
        samples.append({"png": png(image), "npy": stream.getvalue()})
    write_split(root, "test", samples)
    texts = {"classnames": DIGITS, "zeroshot_classification_templates": ["the digit {c}."]}
    return write_texts(root, **texts, dataset_type=["multilabel"])


def retrieval(root: Path, count=12) -> Path:
    """Digits with two captions each."""
    samples = [
        {"png": png(image), "txt": f"the digit {DIGITS[label]}\na photo of {i} {DIGITS[label]}"}
        for i, (image, label) in enumerate(pictures(count))
    ]
    write_split(root, "test", samples)
    return write_texts(root, dataset_type=["retrieval"])


def sugar_crepe(root: Path, count=8) -> Path:
    """The layout of clip_benchmark's sugar_crepe: images, captions true and false."""
    annotations = {}
    (root / "val2017").mkdir(parents=True)
    for i, (image, label) in enumerate(pictures(count)):
        image.save(root / "val2017" / f"{i}.png")
        annotations[str(i)] = {
            "filename": f"{i}.png",
            "caption": f"the digit {DIGITS[label]}",
            "negative_caption": f"the digit {DIGITS[(label + 3) % 10]}",
        }
    (root / "add_att.json").write_text(json.dumps(annotations))
    return root


def write_adapter(path: Path, class_names=DIGITS, seed=0, **settings) -> Path:
    """Write an adapter of random weights, far from its start, so that every feature differs."""
    settings = {"rep_dim": 8, **settings}
    model = open_clip.create_model(OURS, TAG, mmrl_cfg=settings)
    shake(model.learner, seed, std=0.1)
    return open_clip_mmrl.save_adapter(model, path, class_names=class_names)


def eval_command(root: Path, dataset: str, output: Path, *options) -> list[str]:
    """A command line for one data set, quick and quiet; `options` come last and so prevail."""
    command = ["eval", "--dataset", dataset, "--dataset_root", root, "--num_workers", 0, "--quiet"]
    command += ["--model", OURS, "--output", output / "{dataset}_{pretrained}_{model}_{task}.json"]
    return [str(word) for word in (*command, *options)]


def results(folder: Path) -> dict[str, dict]:
    """Everything below a folder of results, by file name; all of it strict JSON."""

    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    return {
        path.name: json.loads(path.read_text(), parse_constant=refuse)
        for path in sorted(folder.iterdir())
    }
