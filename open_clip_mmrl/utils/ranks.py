"""One training on several processes: who computes which rows, and what they exchange.

Every process ("rank") runs the towers for its share of a batch and of the classes. What they
return is gathered, and each rank computes the whole loss. Only a rank's own rows are
differentiated there, so the sum of all ranks' gradients is that of one process, whatever the loss
makes of the features, as long as it depends on what is trained through gathered rows alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import DivergedError
from .torchrun import process_count, rank

_TIMEOUT = timedelta(days=30)
"""The others wait while rank 0 reads or scores. `torchrun` ends them all when one has died."""


class RankError(RuntimeError):
    """An error after which the ranks are no longer at the same step: the command has to end."""


class PeerError(RankError):
    """Another process has ended."""


@cache
def ranks() -> Ranks | None:
    """Return this process among those of `torchrun`, once they have met; None if there are none."""
    if process_count() == 1:
        return None
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_TIMEOUT)
    return Ranks(rank(), process_count())


@dataclass(frozen=True)
class Ranks:
    """One of the processes of torch's process group.

    Attributes:
        rank: its number.
        count: of all.
    """

    rank: int
    count: int

    def _bounds(self, total: int) -> list[int]:
        """Return where each rank's share of so many rows begins, and where the last one ends."""
        return [total * rank // self.count for rank in range(self.count + 1)]

    def share(self, total: int) -> slice:
        """Return which of `total` rows this rank computes.

        Where there are fewer rows than ranks, some compute a row that `gather` leaves out, so
        that all ranks take the same steps.
        """
        begin, end = self._bounds(total)[self.rank :][:2]
        return slice(begin, max(begin + 1, end))

    def gather(self, own: Tensor, total: int) -> Tensor:
        """Return the rows of all ranks, [total, ...]; own ones keep their gradient.

        Args:
            own: rows of this rank's `share`.
            total: of all ranks' rows.
        """
        bounds = self._bounds(total)
        sizes = [end - begin for begin, end in pairwise(bounds)]
        sent = own.new_zeros(max(sizes), *own.shape[1:])  # backends take equal shapes only
        own = own[: sizes[self.rank]]
        sent[: len(own)] = own.detach()
        received = [torch.empty_like(sent) for _ in sizes]
        with _peers():
            dist.all_gather(received, sent)
        rows = [part[:size] for part, size in zip(received, sizes, strict=True)]
        rows[self.rank] = own
        return torch.cat(rows)

    @torch.no_grad()
    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the ranks, which is the same on all to the bit.

        Scaled gradients of fp16 that are infinite on one rank are so on all, so that all skip the
        step.
        """
        found = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in found])
        with _peers():
            dist.all_reduce(flat)
        for gradient, total in zip(found, flat.split([g.numel() for g in found]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def from_first(self, value: Any = None) -> Any:
        """Return rank 0's value, on all ranks."""
        box = [value]
        with _peers():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Take steps that all ranks take, each of which waits for the others.

        Raises:
            RankError: instead of all errors but a `DivergedError`, which all ranks raise alike.
        """
        try:
            yield
        except (RankError, DivergedError):
            raise
        except Exception as error:
            raise RankError(str(error)) from error


@contextmanager
def _peers() -> Iterator[None]:
    """Say what an error of an exchange means."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = re.sub(r"^\[.*?\] ", "", str(error)).partition(". ")[0]  # without its source line
        raise PeerError(
            f"another process of this training has ended ({reason}). The same command resumes "
            "from the last finished epoch."
        ) from error
