"""Tables of cross-dataset evaluation and domain generalization."""

import pytest
from helpers.made_results import (
    PAPER,
    SEEDS,
    SHIFTED,
    sizes,
    transfer,
)
from helpers.tables import MMRL, by_title, read

from open_clip_mmrl.report.tables.table import cell_text
from open_clip_mmrl.report.tables.transfer import transfer_tables


def test_transfer_leaves_the_source_out_of_the_average(sections_of):
    contents = [
        transfer("mmrl", protocol, s)
        for protocol in ("cross-dataset", "domain-generalization")
        for s in SEEDS
    ]
    cross, shift = sections_of(contents)
    tables = by_title(transfer_tables(cross, "cross-dataset"))
    all_methods = tables["All methods; the source, then data sets not trained on"]
    row = {
        c.label: cell_text(v)
        for c, v in zip(all_methods.columns, all_methods.rows[-1].cells, strict=True)
    }
    assert (row["method"], row["results"]) == ("MMRL", "published")
    assert (row["ImageNet (source)"], row["average over 10"]) == ("72.03", "67.25")
    mmrl = read(tables[MMRL])
    assert mmrl["DTD"]["ours beta"] == "0.9" and mmrl["DTD"]["published accuracy"] == "45.90"
    tables = by_title(transfer_tables(shift, "domain-generalization"))
    assert list(read(tables[MMRL]))[1:3] == ["average over 4", "ImageNetV2"]
    assert list(shift.datasets) == SHIFTED
    assert any("has no average" in note for table in tables.values() for note in table.notes)


def test_a_missing_target_is_explained(sections_of):
    targets = {
        "dtd": {"accuracy": 45.0, "zero_shot": 44.0, "beta": 0.9, "sizes": sizes(True)},
        "eurosat": {"missing": "no folder eurosat"},
    }
    (section,) = sections_of([transfer("mmrl", "cross-dataset", 1, targets=targets)])
    tables = transfer_tables(section, "cross-dataset")
    assert "EuroSAT is missing: no folder eurosat." in tables[0].notes
    assert cell_text(tables[0].rows[1].cells[-1]) == "-"


def test_an_average_goes_over_the_targets_that_are_there(sections_of):
    whole = transfer("mmrl", "cross-dataset", 1)["targets"]
    targets = {name: whole[name] for name in ("dtd", "ucf101")}
    targets["eurosat"] = {"missing": "no folder eurosat"}
    (section,) = sections_of([transfer("mmrl", "cross-dataset", 1, targets=targets)])
    table = transfer_tables(section, "cross-dataset")[0]
    found = {row.cells[:2]: row.cells for row in table.rows}
    assert [column.label for column in table.columns][3:] == [
        "average over 2", "DTD", "EuroSAT", "UCF101",
    ]  # fmt: skip
    mean = (targets["dtd"]["accuracy"] + targets["ucf101"]["accuracy"]) / 2
    assert found["MMRL", "ours"][3].value == pytest.approx(mean)
    printed = [PAPER.value("cross-dataset", "mmrl", n, "accuracy") for n in ("dtd", "ucf101")]
    assert found["MMRL", "published"][3].value == pytest.approx(sum(printed) / 2)
