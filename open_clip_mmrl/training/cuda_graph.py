"""The training step as a CUDA graph: recorded once, replayed for every batch.

A step of a small batch is hundreds of short kernels, which a GPU finishes sooner than Python can
launch them. A replay launches them all at once, on the same memory every time: batches are copied
into buffers that stay, and the learning rate is a tensor. The arithmetic is that of the step.

`on_side_stream` and `record` are all that needs a GPU. They have not been run on one; the tests
run everything else on the CPU, with a plain call in their place.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UsageError

GRAPH_PRECISIONS = ("fp32", "amp_bf16", "bf16")
"""Without the gradient scaler of fp16, whose decisions to skip a step nobody has seen replayed."""
WARM_UP = 3
"""Steps before the recording, in which libraries set themselves up; they train like any other."""

Step = Callable[[Tensor, Tensor], Tensor]
"""Images [B, 3, H, W] and labels [B] -> loss []; trains."""


def check_graph(precision: str, device: torch.device) -> None:
    """Whether steps can be recorded.

    Raises:
        UsageError: not on this device, or not in this precision.
    """
    if device.type != "cuda":
        raise UsageError(f"--cuda-graph needs CUDA, and this run is on the {device.type}.")
    if precision not in GRAPH_PRECISIONS:
        raise UsageError(
            f"--cuda-graph does not go with precision {precision!r}, which scales its gradients; "
            f"it has to be one of {GRAPH_PRECISIONS}."
        )


def on_side_stream(run: Callable[[], Tensor]) -> Tensor:
    """Run on a stream of its own, as recording demands of what is run before it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        result = run()
    torch.cuda.current_stream().wait_stream(stream)
    return result


def record(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record without running; the call that is returned runs what was recorded."""
    graph = torch.cuda.CUDAGraph()
    # Other threads go on meanwhile: the one that pins batches allocates memory.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = run()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


class GraphedStep:
    """A `Step` that replays another one.

    Batches of another shape, other prompts than at the recording, and a step that cannot be
    recorded are run as they are, and that is said once.

    Args:
        step: moves its batch to the device by itself; its optimizer has to be capturable.
        prompts: what the step is recorded with besides its batch; looked at in every step.
        device: of the buffers.
        say: takes the message.
        warm_up, record: what touches CUDA.
    """

    def __init__(
        self,
        step: Step,
        prompts: Callable[[], object],
        device: torch.device,
        say: Callable[[str], None],
        *,
        warm_up: Callable[[Callable[[], Tensor]], Tensor] = on_side_stream,
        record: Callable[[Callable[[], Tensor]], Callable[[], Tensor]] = record,
    ) -> None:
        self._step, self._prompts, self._device, self._say = step, prompts, device, say
        self._warm_up, self._record = warm_up, record
        self._batch: tuple[Tensor, Tensor] | None = None
        self._recorded_with: object = None
        self._replay: Callable[[], Tensor] | None = None
        self._steps = 0

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a training step, [], which later steps leave alone."""
        if self._batch is None:
            self._recorded_with = self._prompts()
            self._batch = tuple(torch.empty_like(x, device=self._device) for x in (images, labels))
        for buffer, given in zip(self._batch, (images, labels), strict=True):
            if buffer.shape != given.shape or buffer.dtype != given.dtype:
                shapes = f"{tuple(given.shape)} instead of {tuple(buffer.shape)}"
                self._say_once(f"a batch of another kind ({shapes}, {given.dtype})")
                return self._step(images, labels)
        if self._prompts() is not self._recorded_with:
            self._say_once("other prompts than at its recording")
            return self._step(images, labels)
        for buffer, given in zip(self._batch, (images, labels), strict=True):
            buffer.copy_(given, non_blocking=True)
        self._steps += 1
        if self._steps <= WARM_UP:
            return self._warm_up(self._on_buffers)
        if self._replay is None:
            try:
                self._replay = self._record(self._on_buffers)
            except RuntimeError as error:
                self._say_once(f"a step that cannot be recorded ({error})")
                self._replay = self._on_buffers
        return self._replay().clone()

    def _on_buffers(self) -> Tensor:
        return self._step(*self._batch)

    def _say_once(self, what: str) -> None:
        self._say(f"--cuda-graph: {what}; such steps are run one kernel at a time.")
        self._say = lambda text: None
