"""Models and runs in several threads: nothing is shared but what is only read.

Rounds for a long run: MMRL_THREAD_ROUNDS=200 pytest tests/test_threads.py
"""

import logging
import os
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import numpy as np
import open_clip
import pytest
import torch
from helpers.tiny import tiny_clip, tiny_images, tiny_mmrl, tiny_prompts

from open_clip_mmrl import FewShotClassifier, TrainConfig
from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.config import PRECISIONS
from open_clip_mmrl.data import Example, load_data
from open_clip_mmrl.data.loading.images import ImageSet, train_transform
from open_clip_mmrl.evaluation.predict import build_classifier, predict
from open_clip_mmrl.hub.base_check import base_fingerprint
from open_clip_mmrl.training.trainer import Trainer

ROUNDS = int(os.environ.get("MMRL_THREAD_ROUNDS", "2"))
THREADS = 8
IMAGES, TOKENS, LABELS = tiny_images().float(), tiny_prompts([4, 7, 12]), torch.tensor([0, 2, 1])


def at_once(*calls):
    """Run every call in a thread of its own, started together -> their results."""
    start = Barrier(len(calls))

    def run(call):
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_predictions_in_threads_are_those_of_one_thread(precision):
    """Of a model, of its sibling on the same weights, and in another precision meanwhile."""
    model = tiny_mmrl(tiny_clip().float()).float().eval()
    models = (model, model.sibling().eval())
    digest, weights = base_fingerprint(model), {n: p.clone() for n, p in model.named_parameters()}

    def call(number):
        own = precision if number < THREADS - 2 else "bf16"

        def run():
            classifier = build_classifier(models[number % 2], TOKENS, own)
            batches = [(IMAGES, LABELS)] * 3
            return predict(models[number % 2], classifier, batches, precision=own).scores

        return run

    calls = [call(number) for number in range(THREADS)]
    expected = [run() for run in calls]
    for _ in range(ROUNDS):
        assert all(map(torch.equal, at_once(*calls), expected))
    assert base_fingerprint(model) == digest
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32 and torch.equal(parameter, weights[name]), name


def random_states():
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


def fitted(digits, seed, **train):
    train = {"epochs": 2, "batch_size": 6, "seed": seed, **train}
    classifier = FewShotClassifier(
        MODEL_NAME, class_names=["zero", "one", "two"], device="cpu", train=train
    )
    return classifier.fit(*digits)


def outcome(classifier, digits):
    learned = classifier.model_.learner.state_dict()
    return {**learned, "proba": torch.from_numpy(classifier.predict_proba(digits[0]))}


@pytest.fixture(scope="module")
def digits():
    chosen = [e for e in load_data("digits").few_shot(4, seed=1).train if e.label < 3]
    return [e.image for e in chosen], [e.label for e in chosen]


@pytest.mark.parametrize("augment", ["classic", "device"])
def test_fits_in_threads_are_those_of_one_thread(digits, augment):
    """While other threads draw from torch's global generator, and models are built."""

    def call(seed, precision):
        return lambda: outcome(fitted(digits, seed, augment=augment, precision=precision), digits)

    def disturb():
        for _ in range(300):
            torch.manual_seed(0), torch.rand(100)

    calls = [call(1, "fp32"), call(2, "fp32"), call(1, "amp_bf16")]
    expected = [run() for run in calls]
    level = logging.getLogger().level
    for _ in range(max(1, ROUNDS // 2)):
        *found, _ = at_once(*calls, disturb)
        for ours, alone in zip(found, expected, strict=True):
            assert all(torch.equal(ours[name], tensor) for name, tensor in alone.items())
    root = logging.getLogger()
    assert (root.level, root.filters) == (level, [])


def test_predictions_while_others_train_on_the_same_base(digits):
    base = fitted(digits, 1)
    precisions = ("fp32", "amp_bf16", "bf16")
    expected = outcome(base, digits)
    tokens = open_clip.get_tokenizer(MODEL_NAME)(["zero", "one", "two"])
    images = ImageSet(
        [Example(image=i, label=k) for i, k in zip(*digits, strict=True)],
        train_transform(base.model_),
        seed=1,
    )

    def train(precision):
        model = base.model_.sibling()
        model.learner.reset_parameters(torch.Generator().manual_seed(1))
        config = TrainConfig(epochs=2, batch_size=6, precision=precision)
        Trainer(model, tokens, images, config, quiet=True).fit()
        return model.learner.state_dict()

    trainings = [partial(train, precision) for precision in precisions]
    alone = [run() for run in trainings]
    *learned, mine, again = at_once(*trainings, *[partial(outcome, base, digits)] * 2)
    for ours, theirs in zip([*learned, mine, again], [*alone, expected, expected], strict=True):
        assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


@pytest.mark.parametrize("augment", ["classic", "device"])
def test_fit_predict_and_save_move_no_global_random_state(digits, augment, tmp_path):
    before = random_states()
    classifier = fitted(digits, 1, augment=augment)
    classifier.predict(digits[0])
    path = classifier.save(tmp_path / "a.safetensors")
    FewShotClassifier.from_adapter(path, device="cpu").predict(digits[0])
    assert random_states() == before
