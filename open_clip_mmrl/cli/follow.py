"""The processes of `torchrun` but the first: they have no command line, and report errors only."""

from __future__ import annotations

import logging
import signal
import sys

from ..utils import stop
from ..utils.log import show_messages
from .common import err


def follow_first() -> None:
    """Take part in the trainings of rank 0."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a word: rank 0 says "Stopped."
    show_messages(logging.ERROR)
    import torch.distributed as dist

    from ..experiments.rank_training import follow
    from ..utils.ranks import PeerError, RankError, ranks

    here = ranks()
    assert here is not None  # or there would be nobody to follow
    try:
        if not follow(here):
            stop.end_with_workers(1)
    except RankError as error:
        if here.rank == 1 or not isinstance(error, PeerError):  # one of those left is enough
            err.print(f"error: rank {here.rank}: {error}", soft_wrap=True, markup=False)
        stop.end_with_workers(1)
    dist.destroy_process_group()


def end_others(code: int) -> None:
    """End the others after a command with this exit code; where it failed, this process at once."""
    if code:  # `torchrun` ends the others as soon as this one has ended
        sys.stdout.flush()
        stop.end_with_workers(code)
    import torch.distributed as dist

    from ..utils.ranks import ranks

    here = ranks()
    if here is not None:
        here.from_first(None)
        dist.destroy_process_group()
