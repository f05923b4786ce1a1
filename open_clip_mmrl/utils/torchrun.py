"""What `torchrun` tells each of its processes; no heavy import."""

import os


def process_count() -> int:
    """Return how many processes `torchrun` has started for this command; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def rank() -> int:
    """Return the number of this process among them; 0 leads, and alone reads, writes and scores."""
    return int(os.environ["RANK"]) if process_count() > 1 else 0


def local_rank() -> int:
    """Return the number of this process among those of its machine: which GPU it takes."""
    return int(os.environ.get("LOCAL_RANK", 0))
