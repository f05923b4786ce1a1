"""The processes of `torchrun` but the first: they have no command line, and report errors only."""

from __future__ import annotations

import logging
import signal
import time

from ..utils.log import show_messages
from .common import err

_SECONDS = 5.0
"""In which `torchrun` ends the others, where one has failed."""


def follow_first() -> int:
    """Take part in the trainings of rank 0; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first one handles it, and torchrun ends all
    show_messages(logging.ERROR)
    import torch.distributed as dist

    from ..experiments.rank_training import follow
    from ..utils.ranks import PeerError, RankError, ranks

    here = ranks()
    assert here is not None  # or there would be nobody to follow
    try:
        if not follow(here):
            return 1
        dist.destroy_process_group()
        return 0
    except RankError as error:
        if here.rank == 1 or not isinstance(error, PeerError):  # one of those left is enough
            err.print(f"error: rank {here.rank}: {error}", soft_wrap=True, markup=False)
        time.sleep(_SECONDS)
        return 1


def dismiss() -> None:
    """End the others after a command that went well."""
    import torch.distributed as dist

    from ..utils.ranks import ranks

    here = ranks()
    if here is not None:
        here.from_first(None)
        dist.destroy_process_group()
