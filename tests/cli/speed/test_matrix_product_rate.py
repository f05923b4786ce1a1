"""The unit of other speeds."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from open_clip_mmrl.cli.speed.bench import matrix_product_rate
from open_clip_mmrl.config import PRECISIONS
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.models.precision import half_type

CPU = torch.device("cpu")


class Products(TorchDispatchMode):
    """The types and shapes that are multiplied."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.mm.default, torch.ops.aten.linear.default):
            self.seen.append({(x.dtype, tuple(sorted(x.shape))) for x in args[:2]})
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_rate_is_of_products_in_the_same_precision(precision):
    with Products() as products:
        assert matrix_product_rate(CPU, precision, size=32, repeats=2) > 1e6
    dtype = half_type(precision) or torch.float32
    assert products.seen == [{(dtype, (32, 2048)), (dtype, (32, 128))}] * 3


def test_unknown_precisions():
    with pytest.raises(UsageError, match="precision is 'half'"):
        matrix_product_rate(CPU, "half")
