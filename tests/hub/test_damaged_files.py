"""Generated damage to adapters, base weights and official checkpoints: a ValueError with the file.

`MMRL_FUZZ=20000 pytest tests/hub/test_damaged_files.py` for a long run.
"""

import copy
import io
import json
import os
import random
import resource

import open_clip
import pytest
import torch
from helpers.tiny import BASE, tiny_mmrl
from safetensors import safe_open
from safetensors.torch import load_file, save

from open_clip_mmrl import load_adapter, load_official_state_dict, read_adapter_info, save_adapter
from open_clip_mmrl.hub.adapter_reading import HEADER
from open_clip_mmrl.hub.import_official import _official_names

CASES = int(os.environ.get("MMRL_FUZZ", "200"))
JUNK = (
    None, True, 0, 1, -1, 3, 10**6, 10**12, 10**30, 0.5, float("nan"), float("inf"), 1e308, "",
    "x", "mmrl3", "\ud800", "a\0b", "../../x", "y" * 5000, [], [1], ["a", 2], [[[]]],
    [10**9, 10**9],    {}, {"a": {"b": [1]}}, {"model": None},
)  # fmt: skip


def places(value):
    """Every (container, key) within nested JSON."""
    keys = (
        list(value)
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    for key in keys:
        yield value, key
        yield from places(value[key])


def other_json(rng, header):
    """The header with one to three values replaced, removed or added."""
    header = copy.deepcopy(header)
    for _ in range(rng.randint(1, 3)):
        container, key = rng.choice(list(places(header)))
        kind = rng.random()
        if kind < 0.7:
            container[key] = rng.choice(JUNK)
        elif kind < 0.85:
            del container[key]
        elif isinstance(container, dict):
            container[rng.choice(["more", "rep_dims", "", "size"])] = rng.choice(JUNK)
    text = json.dumps(header)
    if rng.random() < 0.05:
        text = rng.choice(["[", '{"a":']) * rng.choice([10, 900, 20_000])
    return text


def other_bytes(rng, content):
    """The content with bits flipped, bytes overwritten, cut, or doubled."""
    content = bytearray(content)
    kind, place = rng.random(), rng.randrange(len(content))
    if kind < 0.5:
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind < 0.7:  # the lengths and the header
        content[rng.randrange(min(400, len(content)))] = rng.randrange(256)
    elif kind < 0.85:
        del content[place:]
    else:
        content[place:place] = content[place : place + rng.randint(1, 200)]
    return bytes(content)


def other_tensors(rng, tensors):
    """One tensor of another type, shape or content, under another name, or none."""
    tensors = dict(tensors)
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    changes = [
        lambda: tensor.to(rng.choice([torch.int64, torch.bool, torch.uint8, torch.int16])),
        lambda: tensor.reshape(-1),
        lambda: torch.zeros(rng.choice([(), (0,), (3, 0), (1, 2, 3, 4)])),
        lambda: torch.full_like(tensor, rng.choice([7e8, -3])),
        lambda: torch.full(tensor.shape, float(rng.choice(["nan", "inf"]))),
    ]
    kind = rng.random()
    if kind < 0.8:
        tensors[name] = rng.choice(changes)()
    else:
        del tensors[name]
        if kind < 0.9:
            tensors[rng.choice(["", "x", "learner.space", name + "."])] = tensor
    return tensors


def check(name, action, *args):
    """Run it. Return whether it went well; what is raised has to name the file."""
    try:
        action(*args)
    except (ValueError, OSError) as error:
        if name not in str(error):
            raise AssertionError(f"{type(error).__name__} without {name}") from error
        return False
    return True


@pytest.fixture
def bounded_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 300, f"{grown:.0f} MB more"


def test_damaged_adapters(base, tmp_path, bounded_memory):
    rng, path = random.Random(1), tmp_path / "damaged.safetensors"
    original = open_clip.create_model(f"mmrl-{BASE}", "tiny", mmrl_cfg={"rep_dim": 6})
    save_adapter(original, path, class_names=["cat", "dog"], template="a {}.")
    content = path.read_bytes()
    tensors = {k: v.clone() for k, v in load_file(path).items()}  # not the file, mapped
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[HEADER])
    old = {key: value for key, value in header.items() if key != "tensors_sha256"}
    old["format_version"] = 1
    model = open_clip.create_model(f"mmrl-{BASE}", "tiny", mmrl_cfg={"rep_dim": 6})
    for case in range(CASES):
        kind = rng.random()
        if kind < 0.5:
            text = other_json(rng, rng.choice([header, old]))
            changed = save(tensors, {HEADER: text})
        elif kind < 0.8:
            changed = other_bytes(rng, content)
        else:
            changed = save(
                other_tensors(rng, tensors), {HEADER: json.dumps(rng.choice([header, old]))}
            )
        path.write_bytes(changed)
        check(path.name, read_adapter_info, path)
        if check(path.name, load_adapter, model, path) and kind < 0.8:
            for name, value in model.learner.state_dict().items():
                assert torch.equal(value, tensors[name]), f"case {case} was loaded in silence"
        if case % 8 == 0:
            check(path.name, open_clip.create_model, f"mmrl-{BASE}", path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_base_weights(base, tmp_path, suffix, bounded_memory):
    rng, path = random.Random(2), tmp_path / f"damaged{suffix}"
    state = base.model.state_dict()

    def write(tensors):
        if suffix == ".safetensors":
            return save({k: v.contiguous() for k, v in tensors.items()})
        stream = io.BytesIO()
        torch.save(tensors, stream)
        return stream.getvalue()

    content, model = write(state), open_clip.create_model(f"mmrl-{BASE}")
    for _ in range(CASES // 4):
        damaged = rng.random() < 0.5
        path.write_bytes(other_bytes(rng, content) if damaged else write(other_tensors(rng, state)))
        check(path.name, open_clip.load_checkpoint, model, str(path))


@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
def test_damaged_official_checkpoints(variant):
    rng, model = random.Random(3), tiny_mmrl(variant=variant)
    names = _official_names(variant, model.learner.layers)
    state = {}
    for ours, theirs in names.items():
        value = model.learner.get_parameter(ours).detach()
        for place, name in enumerate(theirs):
            state[name] = (value[place] if len(theirs) > 1 else value).clone()
    load_official_state_dict(model, state)
    for _ in range(CASES // 2):
        changed = other_tensors(rng, state)
        if rng.random() < 0.3:
            changed[rng.choice(sorted(changed))] = rng.choice(JUNK)
        if rng.random() < 0.1:
            changed = rng.choice([{"state_dict": rng.choice(JUNK)}, rng.choice(JUNK)])
        check("", load_official_state_dict, model, changed)
        assert all(p.isfinite().all() for p in model.learner.parameters())
