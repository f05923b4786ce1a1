"""Train the small CLIP that ships with this package, from scratch, and store it.

Run ``python -m open_clip_mmrl.assets.train_tiny_clip --output DIR``; it writes the weights and the
config with a record of the training.  The model is open_clip's own ``CLIP`` class; its pictures
and captions come from :mod:`.glyphs` and :mod:`.characters`, the loop is in :mod:`.training`.
``--family siglip`` and ``--family eva`` train other towers of its size (:mod:`.families`) and
write a folder that open_clip loads as ``local-dir:DIR``.

Needs a checkout of the repository: the wheel leaves this script out.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
from pathlib import Path

import open_clip
import torch

from ..utils.files import json_bytes, write_atomically
from . import characters, families, reading, training

WEIGHTS_FILE, CONFIG_FILE = "tiny_clip.safetensors", "tiny_clip.json"
FOLDER_FILES = ("open_clip_model.safetensors", "open_clip_config.json")
"""The same two for other families, as open_clip's ``local-dir:`` wants them."""


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Store the weights as fp16 safetensors, readable by ``open_clip.load_checkpoint``.

    Position embeddings stay fp32: open_clip resizes them to other image sizes as they are stored,
    and PyTorch does not resize half precision on the CPU.
    """
    from safetensors.torch import save

    state = {}
    for name, tensor in model.state_dict().items():
        position = name.endswith(("positional_embedding", "pos_embed"))
        dtype = torch.float32 if position else torch.float16
        state[name] = tensor.to(dtype).contiguous()
    write_atomically(path, save(state, {"format": "pt"}))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m open_clip_mmrl.assets.train_tiny_clip",
        description="Train the small CLIP of printed characters and write "
        f"{WEIGHTS_FILE} and {CONFIG_FILE}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    hidden = argparse.SUPPRESS  # no "(default: ...)" where it would tell nothing
    add(
        "--output",
        type=Path,
        required=True,
        default=hidden,
        help="folder for the two files; made if missing",
    )
    kinds = ["clip", *families.FAMILIES]
    add("--family", choices=kinds, default="clip", help="the towers' kind")
    add("--steps", type=int, default=2500, help="optimizer steps")
    add("--batch-size", type=int, default=128, help="pictures per step")
    add("--lr", type=float, default=1.5e-3, help="peak learning rate of AdamW")
    add("--warmup", type=int, default=200, help="steps of linear warm-up before the cosine")
    add("--weight-decay", type=float, default=0.05, help="for matrices; vectors have none")
    add("--seed", type=int, default=0, help="of the weights, pictures and captions")
    add("--device", default="cpu", help="where to train: cpu, cuda, cuda:1, ...")
    add("--threads", type=int, default=0, help="CPU threads; 0 leaves PyTorch's choice")
    add("--log-every", type=int, default=500, help="steps between printed lines; 0 prints none")
    add(
        "--handwritten",
        action="store_true",
        help="also record the score on scikit-learn's handwritten digits, for information",
    )
    args = parser.parse_args(argv)
    if args.batch_size < 1 or args.lr <= 0 or args.warmup < 0 or args.steps <= args.warmup:
        parser.error(
            f"got --steps {args.steps}, --warmup {args.warmup}, --batch-size {args.batch_size}, "
            f"--lr {args.lr}; --steps must exceed --warmup (0 or more), the others must be above 0"
        )
    if not 0 <= args.seed < reading.HELD_OUT_SEED:
        parser.error(f"got --seed {args.seed}; use 0 to 2**31 - 1; the rest is for tests")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"got --device {args.device}, but PyTorch sees no CUDA device; use cpu")
    return args


def main(argv: list[str] | None = None) -> None:
    """Train, store, read the stored file back, measure it and record how it was made."""
    args = parse(argv)
    given = sys.argv[1:] if argv is None else argv
    if args.threads:
        torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    config = families.model_config(args.family, args.output)
    model = training.train(args, config)
    seconds = time.monotonic() - started
    is_clip = args.family == "clip"
    weights_file, config_file = (WEIGHTS_FILE, CONFIG_FILE) if is_clip else FOLDER_FILES
    weights = args.output / weights_file
    save_weights(model, weights)
    open_clip.load_checkpoint(model, str(weights))  # measure what was stored, fp16 rounding too
    cuda = args.device.startswith("cuda")
    processor = f"CPU, {torch.get_num_threads()} threads"
    record = {
        "command": " ".join(["python -m open_clip_mmrl.assets.train_tiny_clip", *given]),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "seconds": round(seconds),
        "device": torch.cuda.get_device_name(args.device) if cuda else processor,
        "accuracy": {
            "printed_seen_fonts": reading.printed_accuracy(model, characters.TRAIN_FONTS),
            "printed_held_out_fonts": reading.printed_accuracy(model, characters.HELD_OUT_FONTS),
        },
        "versions": {"python": platform.python_version(), **versions()},
    }
    if args.handwritten:
        record["accuracy"]["handwritten_zero_shot"] = reading.handwritten_accuracy(model)
    if is_clip:
        content = config | {"preprocess": reading.PREPROCESS, "record": record}
    else:
        preprocess = {**reading.PREPROCESS, "size": config["vision_cfg"]["image_size"]}
        content = {"model_cfg": config, "preprocess_cfg": preprocess, "record": record}
    write_atomically(args.output / config_file, json_bytes(content))
    print(json.dumps(record, indent=2))


def versions() -> dict[str, str]:
    """Versions of the packages that bear on the result."""
    from importlib.metadata import version

    names = ("torch", "open_clip_torch", "matplotlib", "pillow", "numpy", "safetensors")
    return {name: version(name) for name in names}


if __name__ == "__main__":
    main()
