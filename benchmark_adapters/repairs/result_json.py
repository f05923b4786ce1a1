"""Result files: NaN, which is no JSON; null instead of metrics; written in place, at the end.

clip_benchmark 1.6.2 dumps `"acc5": NaN` for data sets of fewer than five classes, which strict
readers refuse, and `"metrics": null` for a linear probe with too few images, on which its own
`build` fails. A folder that does not exist is found after the evaluation, and an interruption while
writing leaves half a file. To see the first: any evaluation of a data set with two classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from open_clip_mmrl.utils.files import json_bytes, temporary, write_atomically


@contextmanager
def result_file(path: Path, extra: Mapping[str, Any]) -> Generator[Path, None, None]:
    """Yield a file for JSON in the same folder; at the end write it to `path`, strict.

    Args:
        path: of the result.
        extra: more keys; read at the end, so that they may be filled in the meantime.

    Raises:
        ValueError: the file cannot be written, or the result has no metrics.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _, partial = stack.enter_context(temporary(path))  # rather than after the evaluation
        except OSError as error:
            raise ValueError(f"cannot write {path}: {error.strerror}.") from error
        yield partial
        result = json.loads(partial.read_text())
        if result["metrics"] is None:
            raise ValueError(f"the evaluation gave no metrics; {path} is not written.")
        write_atomically(path, json_bytes(strict({**result, **extra})))


def strict(value: Any) -> Any:
    """Return a value with NaN and infinities, which are no JSON, as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in value.items()}
    return [strict(item) for item in value] if isinstance(value, list) else value
