"""Light to import, registered when open_clip comes, trained and scored without Triton: one process.

Importing torch and open_clip takes most of its time.
"""

import subprocess
import sys

PROGRAM = """
import sys

sys.modules["triton"] = None  # from here on every import of it fails

import open_clip_mmrl
import open_clip_mmrl.cli  # a room's folder is light as well
assert not {"torch", "open_clip", "sklearn", "numpy"} & set(sys.modules), "not light"

import torch


def compiled(*args, **kwargs):
    raise AssertionError("torch.compile was called")


torch.compile = torch.nn.Module.compile = torch.jit.script = torch.jit.trace = compiled

from open_clip import create_model, list_models
assert "mmrl-ViT-B-16" in list_models()
assert create_model.__wrapped__ and not hasattr(create_model.__wrapped__, "__wrapped__")
assert open_clip_mmrl.hub.registry.on_open_clip not in sys.meta_path
assert "open_clip_mmrl.models.mmrl_clip" not in sys.modules
model = create_model("mmrl-ViT-Ti-8-glyphs")
assert isinstance(model, open_clip_mmrl.MMRLCLIP)

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


def test_light_import_then_training_and_scoring_without_triton_or_compilation():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "trained and scored"
