"""Processes that train together, as `torchrun` starts them."""

from __future__ import annotations

import io
import multiprocessing
import traceback
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist

from open_clip_mmrl.utils.ranks import Ranks


def in_ranks(count, function, *args):
    """Call `function(ranks, *args)` in forked processes; return what each of them returned."""
    context = multiprocessing.get_context("fork")
    with TemporaryDirectory() as folder:
        pipes, processes = zip(*(context.Pipe(duplex=False) for _ in range(count)), strict=True)
        processes = [
            context.Process(target=_run, args=(pipe, folder, Ranks(rank, count), function, args))
            for rank, pipe in enumerate(processes)
        ]
        for process in processes:
            process.start()
        found = [torch.load(io.BytesIO(pipe.recv_bytes()), weights_only=True) for pipe in pipes]
        for process in processes:
            process.join()
    errors = [error for error, _ in found if error]
    assert not errors, errors[0]
    return [value for _, value in found]


def _run(pipe, folder, ranks, function, args):
    error, value, buffer = None, None, io.BytesIO()
    try:
        meet = f"file://{folder}/meet"
        dist.init_process_group("gloo", meet, rank=ranks.rank, world_size=ranks.count)
        value = function(ranks, *args)
    except BaseException:
        error = traceback.format_exc()
    torch.save((error, value), buffer)
    pipe.send_bytes(buffer.getvalue())
