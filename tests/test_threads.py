"""Models and runs in several threads: nothing is shared but what is only read.

Rounds for a long run: OPEN_CLIP_MMRL_THREAD_ROUNDS=200 pytest tests/test_threads.py
"""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from helpers.tiny import tiny_clip, tiny_images, tiny_mmrl, tiny_prompts

from open_clip_mmrl.config import PRECISIONS
from open_clip_mmrl.evaluation.predict import build_classifier, predict
from open_clip_mmrl.hub.base_check import base_fingerprint

ROUNDS = int(os.environ.get("OPEN_CLIP_MMRL_THREAD_ROUNDS", "2"))
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
