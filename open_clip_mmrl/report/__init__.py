"""From finished runs to a report: Markdown, CSV, one HTML page, pictures.

load (files to runs, sections and scores) -> tables -> document -> figures -> compose -> render
(files). `write_report` is the way in; the command line and the demo import it.
"""

from .render.write import Written, write_report

__all__ = ["Written", "write_report"]
