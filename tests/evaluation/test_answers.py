"""Answers for image files: rankings of seen and new classes, a stream that skips broken files."""

import math
import threading
from dataclasses import replace

import pytest
import torch
from helpers.adapters import write_adapter
from PIL import Image

from benchmark_adapters.auto import SeenClasses, chosen_features, with_new_classes
from open_clip_mmrl.data.loading.images import EVAL_BATCH, eval_transform
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.evaluation import image_batches as module
from open_clip_mmrl.evaluation.answers import answers, ranking
from open_clip_mmrl.evaluation.logits import Scoring
from open_clip_mmrl.evaluation.mean_image import image_means
from open_clip_mmrl.evaluation.predict import build_classifier, predict_all
from open_clip_mmrl.hub.adapter_info import Calibration
from open_clip_mmrl.hub.load import build_from_adapter

SEEN, NEW = ["one", "two", "three"], ["six", "seven"]
NAMES = [*SEEN, *NEW]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    path = write_adapter(tmp_path_factory.mktemp("adapter") / "x.safetensors", SEEN)
    return build_from_adapter(path, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Six images of noise."""
    folder, generator = tmp_path_factory.mktemp("images"), torch.Generator().manual_seed(0)
    for i in range(6):
        noise = torch.randint(0, 255, (20, 30, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def images(adapter, paths):
    transform = eval_transform(adapter[0].model)
    return torch.stack([transform(Image.open(path)) for path in paths])


def logits(adapter, images, names):
    loaded, info = adapter
    classifier = build_classifier(loaded.model, loaded.class_tokens(names, info.template))
    return predict_all(loaded.model, classifier, [(images, torch.zeros(len(images)))])


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=1e-5)


def test_seen_classes_alone_mix_probabilities(adapter, images):
    found = ranking(*adapter)
    assert found.names == tuple(SEEN) and not found.has_new
    mixed = logits(adapter, images, SEEN).scores(Scoring("fused", 0.6, "probabilities"))
    close(found.probabilities(images), mixed.exp())


def test_new_classes_alone_are_scored_by_the_class_feature(adapter, images):
    found = ranking(*adapter, NEW, only_new=True)
    close(found.probabilities(images), logits(adapter, images, NEW).by_class.softmax(-1))


@pytest.mark.parametrize("centered", [False, True])
def test_seen_and_new_classes_are_ranked_as_in_generalized_accuracy(adapter, images, centered):
    """And as by the one classifier of `mmrl_auto`."""
    loaded, info = adapter
    scoring, known = Scoring("fused", 0.6, seen=(True,) * 3 + (False,) * 2), None
    if centered:
        scoring = Scoring("fused", 0.6, centered=True)
        known = image_means(loaded.model, [(images[:4], torch.tensor([0, 0, 2, 1]))])
        info = replace(info, calibration=Calibration("shots", {}, {}, [], known))
    ranked = ranking(loaded, info, NEW)
    found = ranked.probabilities(images)
    close(
        found, replace(logits(adapter, images, NAMES), mean=ranked.mean).scores(scoring).softmax(-1)
    )
    model = loaded.model.sibling()
    model.learner, model.image_means = loaded.model.learner, known
    model.seen_classes = SeenClasses(SEEN, lambda names: loaded.readings(names, info.template))
    with torch.no_grad(), chosen_features(model, NAMES, mix=True):
        text = model.encode_text(loaded.class_tokens(NAMES, info.template))
        classifier, image = with_new_classes(model, text.T, NAMES), model.encode_image(images)
        close(image.norm(dim=1).double(), torch.ones(len(images)))
        close(found, (model.logit_scale.exp() * image @ classifier).softmax(-1))
    assert model.encode_image(images).shape == model.encode_image(images, features="class").shape


def test_an_offset_decides_between_seen_and_new_classes(adapter, images):
    present = ranking(*adapter, NEW).probabilities(images)
    assert torch.equal(ranking(*adapter, NEW, seen_offset=0.0).probabilities(images), present)
    only_new = ranking(*adapter, NEW, seen_offset=math.inf).probabilities(images)
    assert not only_new[:, :3].any()
    close(only_new[:, 3:], logits(adapter, images, NEW).by_class.softmax(-1))


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (["six", "One"], r"1 of 2 classes.*'One' reads like 'one', seen in training"),
        (["six", "SIX"], r"'SIX' reads like 'six'\."),
        (["six", " "], "empty name"),
        ([], "no new classes to rank alone"),
    ],
)
@pytest.mark.parametrize("only_new", [False, True])
def test_classes_that_are_not_new_are_refused(adapter, new, words, only_new):
    if new or only_new:
        with pytest.raises(UsageError, match=words):
            ranking(*adapter, new, only_new=only_new)


def test_answers_are_ranked_and_marked(adapter, images, paths):
    found = ranking(*adapter, NEW)
    probabilities = found.probabilities(images)
    for answer, path, row in zip(answers(found, paths, top=9), paths, probabilities, strict=True):
        assert answer.image == str(path) and not answer.error
        values = [one.probability for one in answer.classes]
        assert values == sorted(row.tolist(), reverse=True) and sum(values) == pytest.approx(1)
        assert all(one.seen == (one.name in SEEN) for one in answer.classes)
    assert [len(a.classes) for a in answers(found, paths, top=2)] == [2] * 6


def test_files_that_cannot_be_read_are_answered_with_the_reason(adapter, paths, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:200])
    given = [broken, paths[0], tmp_path / "gone.png", tmp_path, paths[1]]
    found = ranking(*adapter)
    results = list(answers(found, given))
    assert [bool(a.classes) for a in results] == [False, True, False, False, True]
    assert results[0].error and "does not exist" in results[2].error
    assert "not a file" in results[3].error
    assert [results[1], results[4]] == list(answers(found, paths[:2]))
    assert [bool(a.error) for a in answers(found, [broken, broken])] == [True, True]


def test_memory_does_not_grow_with_the_number_of_images(adapter, paths, monkeypatch):
    """At most two batches are read ahead, and the threads end with the stream."""
    read = []
    monkeypatch.setattr(module, "_read", lambda path, transform: read.append(path) or "broken")
    before = threading.active_count()
    stream = answers(ranking(*adapter), paths * 1000, threads=2)
    for number in range(1, 5 * EVAL_BATCH):
        next(stream)
        assert len(read) <= number + 2 * EVAL_BATCH
    stream.close()
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPool"):
            thread.join(5)
    assert threading.active_count() <= before


def test_progress_counts_every_file(adapter, paths, tmp_path):
    class Counter:
        images = 0

        def advance(self, steps, images):
            self.images += images

    counter = Counter()
    list(answers(ranking(*adapter), [*paths, tmp_path / "gone"], progress=counter))
    assert counter.images == 7
