"""A recorder that replaces CUDA."""

from __future__ import annotations


class Recorder:
    """Replaces CUDA: notes the calls, and runs plainly."""

    def __init__(self, error=None):
        self.calls, self.error = [], error

    def warm_up(self, run):
        self.calls.append("warm up")
        return run()

    def record(self, run):
        self.calls.append("record")
        if self.error:
            raise self.error

        def replay():
            self.calls.append("replay")
            return run()

        return replay
