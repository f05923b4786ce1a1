"""From results.json files to Markdown, CSV, figures and one HTML page. No torch here.

runs.py, collect.py (files to runs) -> arrange.py, sections.py (runs to scores) -> halves.py,
few_shot.py, transfer.py, ablation.py, quality.py, costs.py (tables) and radar.py, dots.py,
curves.py, bars.py, tradeoff.py (figures) -> compose.py (the document) -> text_files.py, page.py,
write.py (files). published.py holds the figures of others, beside.py how ours stand beside them.
"""

from .render.write import Written, write_report

__all__ = ["Written", "write_report"]
