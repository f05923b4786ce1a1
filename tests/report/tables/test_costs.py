"""Tables of cost and environment."""

from statistics import mean

import pytest
from helpers.made_results import (
    base_to_novel,
)
from helpers.tables import read

from open_clip_mmrl.report.tables.costs import cost_table, environment_table


def test_cost_and_environment(sections_of):
    contents = [base_to_novel("mmrl", n, s) for n in ("imagenet", "dtd") for s in (1, 2)]
    contents[0]["trainable_parameters"] = 1_000_000
    found = sections_of(contents)
    table = cost_table(found)
    ours = [row.cells for row in table.rows if row.cells[1] == "ours"]
    assert [cells[3] for cells in ours] == ["2 data sets", "ImageNet"]
    assert ours[0][5] == "1.000 to 4.992"
    assert ours[0][7].value == pytest.approx(mean(c["train_seconds"] for c in contents) / 60)
    printed = {row.cells[0]: row.cells for row in table.rows if row.role == "published"}
    assert printed["MMRL"][6].value == 5.3 and printed["MMRL"][5].value == 4.992
    environment = read(environment_table(found[0].runs))
    assert environment["torch"]["environment 1"] == "2.15.0"
    assert environment["runs"]["environment 1"] == "4"
