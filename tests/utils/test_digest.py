"""The digest over tensors."""

import torch

from open_clip_mmrl.utils.digest import tensors_digest


def test_the_digest_depends_on_names_types_shapes_and_every_bit_and_on_no_order():
    base = {"a": torch.zeros(2, 3), "b": torch.tensor(3), "c": torch.ones(4, dtype=torch.bfloat16)}
    flipped = base["a"].clone()
    flipped.view(torch.uint8)[1, 2] ^= 1
    others = [
        {**base, "a": flipped},
        {**base, "a": base["a"].reshape(3, 2)},
        {**base, "a": base["a"].view(torch.int32)},
        {**base, "d": base["b"]},
        {"a": base["a"], "b": base["b"]},
    ]
    assert len({tensors_digest(tensors) for tensors in (base, *others)}) == 6
    assert tensors_digest(dict(reversed(base.items()))) == tensors_digest(base)
    assert tensors_digest({"a": torch.zeros(3, 2).T, "b": base["b"], "c": base["c"]}) == (
        tensors_digest(base)
    )
