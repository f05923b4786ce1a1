"""Training and scoring on a machine without Triton, and without torch.compile."""

import subprocess
import sys

PROGRAM = """
import sys

sys.modules["triton"] = None  # from here on every import of it fails

import torch


def compiled(*args, **kwargs):
    raise AssertionError("torch.compile was called")


torch.compile = torch.nn.Module.compile = torch.jit.script = torch.jit.trace = compiled

import numpy as np
from open_clip_mmrl import FewShotClassifier, assets

images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
for precision in ("fp32", "amp_bf16", "bf16"):
    classifier = FewShotClassifier(
        "mmrl-" + assets.MODEL_NAME,
        class_names=["a", "b"],
        train={"epochs": 1, "batch_size": 2, "precision": precision},
        device="cpu",
    )
    classifier.fit(images, ["a", "b", "a", "b"])
    assert classifier.predict_proba(images).shape == (4, 2)
found = [name for name in sys.modules if name.startswith("triton.")]
assert not found and sys.modules["triton"] is None, found
print("trained and scored")
"""


def test_training_and_scoring_need_no_triton_and_compile_nothing():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "trained and scored"
