"""The training step as a CUDA graph: recorded once, replayed for every batch.

A step of a small batch is hundreds of short kernels, which a GPU finishes sooner than Python can
launch them. A replay launches them all at once, on the same memory every time: batches are copied
into fixed buffers, and the learning rate is a tensor. The arithmetic is that of the step.

`on_side_stream` and `record` are all that needs a GPU. They have not been run on one; the tests
run everything else on the CPU, with a plain call in their place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UsageError
from .step import Step, TrainingStep

logger = logging.getLogger(__name__)

GRAPH_PRECISIONS = ("fp32", "amp_bf16", "bf16")
"""Not fp16: it is not tested whether the gradient scaler skips steps rightly in a replay."""
WARM_UP = 3
"""Steps before the recording, in which libraries initialize; they train like any other."""


def check_graph(precision: str, device: torch.device) -> None:
    """Check that steps can be recorded.

    Raises:
        UsageError: they cannot on this device, or not in this precision.
    """
    if device.type != "cuda":
        raise UsageError(f"--cuda-graph needs CUDA, and this run is on the {device.type}.")
    if precision not in GRAPH_PRECISIONS:
        raise UsageError(
            f"--cuda-graph does not work with precision {precision!r}, which scales gradients; "
            f"precision has to be one of {GRAPH_PRECISIONS}."
        )


def on_side_stream(run: Callable[[], Tensor]) -> Tensor:
    """Run on a separate stream, as recording requires for what runs before it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        result = run()
    torch.cuda.current_stream().wait_stream(stream)
    return result


def record(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record without running; return a call that runs what was recorded."""
    graph = torch.cuda.CUDAGraph()
    # Other threads keep working meanwhile: the one that pins batches allocates memory.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = run()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


class GraphedStep:
    """A `Step` that records another one and replays it.

    Batches of another shape, prompts other than at the recording, and a step that cannot be
    recorded are run one kernel at a time; the first time this happens, a warning is logged.

    Args:
        step: moves its batch to the device by itself; its optimizer has to be capturable.
        prompts: returns what the step is recorded with besides its batch; read in every step.
        device: of the buffers.
        warm_up, record: what touches CUDA.

    Attributes:
        notes: the warnings so far.
    """

    def __init__(
        self,
        step: Step,
        prompts: Callable[[], object],
        device: torch.device,
        *,
        warm_up: Callable[[Callable[[], Tensor]], Tensor] = on_side_stream,
        record: Callable[[Callable[[], Tensor]], Callable[[], Tensor]] = record,
    ) -> None:
        self._step, self._prompts, self._device = step, prompts, device
        self._warm_up, self._record = warm_up, record
        self._buffers: list[Tensor] = []
        self._recorded_with: object = None
        self._replay: Callable[[], Tensor] | None = None
        self._steps = 0
        self.notes: list[str] = []

    @classmethod
    def of(cls, step: TrainingStep) -> GraphedStep:
        """Record a `TrainingStep`, together with what its task knows of the classes."""
        return cls(step, lambda: getattr(step.task, "classes", None), step.device)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on one batch; return the loss, [], which later steps do not overwrite."""
        batch = (images, labels)
        if not self._buffers:
            self._recorded_with = self._prompts()
            self._buffers = [torch.empty_like(x, device=self._device) for x in batch]
        for buffer, given in zip(self._buffers, batch, strict=True):
            if buffer.shape != given.shape or buffer.dtype != given.dtype:
                shapes = f"{tuple(given.shape)} instead of {tuple(buffer.shape)}"
                self._note(f"a batch of another kind ({shapes}, {given.dtype})")
                return self._step(images, labels)
        if self._prompts() is not self._recorded_with:
            self._note("other prompts than at its recording")
            return self._step(images, labels)
        for buffer, given in zip(self._buffers, batch, strict=True):
            buffer.copy_(given, non_blocking=True)
        self._steps += 1
        if self._steps <= WARM_UP:
            return self._warm_up(self._on_buffers)
        if self._replay is None:
            try:
                self._replay = self._record(self._on_buffers)
            except RuntimeError as error:
                self._note(f"a step that cannot be recorded ({error})")
                self._replay = self._on_buffers
        return self._replay().clone()

    def _on_buffers(self) -> Tensor:
        images, labels = self._buffers
        return self._step(images, labels)

    def _note(self, what: str) -> None:
        if not self.notes:
            self.notes.append(f"--cuda-graph: {what}; such steps are run one kernel at a time.")
            logger.warning(self.notes[0])
