"""What the pictures show, and that nothing in them covers anything else."""

import io

import pytest
from helpers.made_results import (
    ELEVEN,
    SEEDS,
    SWEEPS,
    ablation,
    base_to_novel,
    few_shot,
    transfer,
    write_runs,
)
from PIL import Image

from open_clip_mmrl.report.figures.bars import change_bars
from open_clip_mmrl.report.figures.curves import few_shot_curves, sweep_curves, sweep_each
from open_clip_mmrl.report.figures.dots import difference_dots
from open_clip_mmrl.report.figures.drawing import (
    COLORS,
    disable_mathtext,
    image_bytes,
    style_context,
    style_of,
)
from open_clip_mmrl.report.figures.radar import radar
from open_clip_mmrl.report.figures.tradeoff import LABELED, alpha_paths
from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.load.collect import collect
from open_clip_mmrl.report.load.published import published

OWN = ["birds", "digits", "my_own_folder", "textures_of_home"]


@pytest.fixture
def section_of(tmp_path):
    def build(contents):
        (section,) = arrange(collect([write_runs(tmp_path, contents)]).runs)
        return section

    return build


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def lines(axes):
    """{label: (x, y)} of the lines of an axes, error bars too."""
    handles = zip(*axes.get_legend_handles_labels(), strict=True)
    found = {label: getattr(handle, "lines", [handle])[0] for handle, label in handles}
    found = {label: line for label, line in found.items() if hasattr(line, "get_xdata")}
    return {
        label: (list(line.get_xdata()), list(line.get_ydata())) for label, line in found.items()
    }


def overlapping(figure):
    """Pairs of written texts whose boxes meet."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    texts = [t for axes in figure.axes for t in (*axes.get_xticklabels(), axes.title)]
    texts = [text for text in texts if text.get_text().strip() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    return [
        (name, other)
        for i, (name, box) in enumerate(boxes)
        for other, second in boxes[i + 1 :]
        if box.overlaps(second)
    ]


def test_radar_of_fifteen_data_sets(section_of):
    section = section_of(
        base_to_novel(m, n, 1) for m in ("mmrl", "mmrl++") for n in [*ELEVEN, *OWN]
    )
    with style_context():
        figure = radar(section, "b2n").figure
    assert labels(figure) == [
        "zero-shot CLIP", "MMRL", "MMRL++", "MMRL, published", "MMRL++, rerun",
    ]  # fmt: skip
    found = lines(figure.axes[0])
    ours = section.score(section.series[1], "imagenet", "hm").mean
    assert len(found["MMRL"][1]) == 16 and found["MMRL"][1][0] == pytest.approx(ours)
    assert found["MMRL, published"][1][0] == 74.45
    assert overlapping(figure) == []


def test_radar_needs_three_data_sets_and_leaves_gaps(section_of, tmp_path):
    two = [base_to_novel("mmrl", name, 1) for name in ELEVEN[:2]]
    (section,) = arrange(collect([write_runs(tmp_path / "two", two)]).runs)
    assert radar(section, "b2n") is None
    contents = [base_to_novel("mmrl", n, 1) for n in ELEVEN[:5]]
    contents += [base_to_novel("mmrl++", n, 1) for n in ELEVEN[:3]]
    figure = radar(section_of(contents), "b2n").figure
    values = lines(figure.axes[0])["MMRL++"][1]
    assert [value == value for value in values] == [True, True, True, False, False, True]


def test_differences_only_where_runs_compare(section_of, tmp_path):
    contents = [base_to_novel("mmrl", name, seed) for name in ELEVEN[:3] for seed in SEEDS]
    section = section_of(contents)
    (axes,) = difference_dots(section, "b2n").figure.axes
    x, _ = lines(axes)["MMRL \N{MINUS SIGN} published"]
    ours = section.score(section.series[1], "imagenet", "hm").mean
    assert x[1] == pytest.approx(ours - 74.45)
    assert [t.get_text() for t in axes.get_yticklabels()][:2] == ["average over 3", "ImageNet"]
    other = [base_to_novel("mmrl", n, 1, model="mmrl-ViT-L-14") for n in ELEVEN[:3]]
    (section,) = arrange(collect([write_runs(tmp_path / "other", other)]).runs)
    assert difference_dots(section, "b2n") is None


def test_differences_of_transfer(section_of):
    figure = difference_dots(section_of([transfer("mmrl", "cross-dataset", 1)]), "x").figure
    assert len(figure.axes[0].get_yticklabels()) == 11


SOURCES = ("fixed", "paper", "validation")


def test_every_series_has_a_color_of_its_own_and_none_is_left_out(section_of):
    contents = [base_to_novel("linear_probe", "dtd", 1), base_to_novel("zeroshot", "dtd", 1)]
    contents += [
        base_to_novel(method, "dtd", 1, settings_source=source)
        for method in ("mmrl", "mmrl++")
        for source in SOURCES
    ]
    section = section_of(contents)
    looks = [style_of(section, series) for series in section.series]
    assert len({(style_context["color"], style_context["marker"]) for style_context in looks}) == 8
    assert len({style_context["color"] for style_context in looks}) == 8
    assert style_of(section, section.series[2])["color"] == COLORS["mmrl"]
    (axes,) = alpha_paths(section, "b2n").figure.axes
    assert len(lines(axes)) == 2 * len(SOURCES)


def cut_off(figure):
    """Entries of legends that do not stand within the picture."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    width = figure.bbox.width
    boxes = [legend.get_window_extent(renderer) for legend in figure.legends]
    return [box for box in boxes if box.x0 < 0 or box.x1 > width]


def test_legends_stand_within_narrow_pictures(section_of, tmp_path):
    contents = [
        few_shot(method, "digits", shots, 1)
        for method in ("linear_probe", "mmrl", "mmrl++")
        for shots in (1, 2)
    ]
    assert cut_off(few_shot_curves(section_of(contents), "few-shot").figure) == []
    contents = [
        base_to_novel(method, name, seed, settings_source=source)
        for method in ("mmrl", "mmrl++")
        for name in ELEVEN[:3]
        for seed in (1, 2)
        for source in SOURCES
    ]
    (section,) = arrange(collect([write_runs(tmp_path / "b2n", contents)]).runs)
    figure = difference_dots(section, "b2n").figure
    assert cut_off(figure) == [] and cut_off(radar(section, "b2n").figure) == []
    heights = [line[1][0] for line in lines(figure.axes[0]).values()]  # of the first data set
    assert len(heights) == 6 and max(heights) - min(heights) < 0.8


def test_alphas_are_not_written_over_each_other(section_of):
    steps = [(a / 10, min(a, 5)) for a in range(11)]
    curve = [{"alpha": alpha, "base": 60 + x, "novel": 50 + x} for alpha, x in steps]
    section = section_of([base_to_novel("mmrl", "digits", 1, alpha_curve=curve)])
    (axes,) = alpha_paths(section, "b2n").figure.axes
    assert {text.get_text() for text in axes.texts} == {"0", "1"}  # 0.5 and 0.7 lie at 1


def test_few_shot_has_a_panel_per_data_set(section_of):
    contents = [
        few_shot(method, name, shots, seed)
        for method in ("linear_probe", "mmrl", "mmrl++")
        for name in ("dtd", "digits")
        for shots in (1, 2, 4)
        for seed in (1, 2)
    ]
    section = section_of(contents)
    figure = few_shot_curves(section, "few-shot").figure
    assert [axes.get_title() for axes in figure.axes] == ["DTD", "digits"]
    dtd, digits = map(lines, figure.axes)
    assert dtd["MMRL, published"][1] == [56.37, 61.37, 67.87]
    assert "MMRL, published" not in digits and {"MMRL", "MMRL++", "zero-shot CLIP"} <= digits.keys()
    series = next(s for s in section.series if s.method == "mmrl")
    assert dtd["MMRL"][1][2] == pytest.approx(section.score(series, "dtd", "accuracy", "4").mean)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1", "2", "4"]


def test_one_number_of_shots_is_no_curve(section_of):
    assert few_shot_curves(section_of([few_shot("mmrl", "dtd", 4, 1)]), "few-shot") is None


def test_methods_keep_their_colors(section_of):
    contents = [base_to_novel("mmrl++", "dtd", 1), base_to_novel("mmrl", "dtd", 1)]
    (axes,) = alpha_paths(section_of(contents), "b2n").figure.axes
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    assert handles["MMRL"].get_color() == COLORS["mmrl"]
    assert handles["MMRL++"].get_color() == COLORS["mmrl++"]


def test_alpha_runs_from_0_to_1(section_of):
    content = base_to_novel("mmrl", "dtd", 1)
    (axes,) = alpha_paths(section_of([content]), "b2n").figure.axes
    x, y = lines(axes)["MMRL"]
    assert x == [point["base"] for point in content["alpha_curve"]]
    assert y == [point["novel"] for point in content["alpha_curve"]]
    assert sorted(text.get_text() for text in axes.texts) == sorted(f"{a:g}" for a in LABELED)


def test_no_picture_without_alpha_curve(section_of):
    assert alpha_paths(section_of([base_to_novel("linear_probe", "dtd", 1)]), "b2n") is None


def test_sweeps_are_curves(section_of):
    contents = [ablation("reg_weight", v, n, 1) for v in SWEEPS["reg_weight"] for n in ELEVEN[:3]]
    section = section_of(contents)
    (series,) = section.series
    with style_context():
        averages = sweep_curves(section, series, "a").figure
        each = sweep_each(section, series, "a").figure
    assert [axes.get_title() for axes in averages.axes] == ["base", "novel", "HM"]
    expected = [section.average(series, ELEVEN[:3], "hm", p).mean for p in section.points]
    assert lines(averages.axes[2])["MMRL"][1] == pytest.approx(expected)
    assert "MMRL, published" not in lines(averages.axes[2])  # the published average is over eleven
    printed = [published().value("reg_weight", "mmrl", "imagenet", "hm", p) for p in section.points]
    assert lines(each.axes[0])["MMRL, published"][1] == printed
    assert overlapping(averages) == [] and overlapping(each) == []


def test_sweep_over_the_eleven_has_the_published_curve(section_of):
    contents = [ablation("rep_dim", v, n, 1) for v in SWEEPS["rep_dim"] for n in ELEVEN]
    section = section_of(contents)
    figure = sweep_curves(section, section.series[0], "a").figure
    assert lines(figure.axes[2])["MMRL, published"][1] == [80.84, 80.85, 81.0, 81.2, 81.04, 81.0]


def test_variants_are_bars_from_the_whole_method(section_of, tmp_path):
    contents = [ablation("variant", v, n, 1) for v in SWEEPS["variant"] for n in ELEVEN]
    section = section_of(contents)
    (series,) = section.series
    (axes,) = change_bars(section, series, "a").figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == SWEEPS["variant"][:-1]
    heights = [bar.get_height() for bar in axes.containers[0]]
    scores = [section.average(series, ELEVEN, "base", p).mean for p in ("w/o L", "full")]
    assert heights[0] == pytest.approx(scores[0] - scores[1])
    printed = lines(axes)["published"][1]
    assert printed[0] == pytest.approx(80.08 - 81.2)
    lone = [ablation("variant", "w/o L", "dtd", 1)]
    (section,) = arrange(collect([write_runs(tmp_path / "lone", lone)]).runs)
    assert change_bars(section, section.series[0], "a") is None


def test_the_same_figure_gives_the_same_bytes(section_of):
    contents = [base_to_novel("mmrl", "dtd", 1), base_to_novel("mmrl", "eurosat", 1)]
    section = section_of(contents)
    first, second = (difference_dots(section, "b2n").figure for _ in range(2))
    assert image_bytes(first, "svg") == image_bytes(second, "svg")
    with Image.open(io.BytesIO(image_bytes(first, "png"))) as image:
        assert image.width > 800


def test_a_dollar_in_a_name_is_no_formula(section_of):
    contents = [few_shot("mmrl", "costs_$5$_and_\\frac", shots, 1) for shots in (1, 2)]
    figure = disable_mathtext(few_shot_curves(section_of(contents), "few-shot").figure)
    assert image_bytes(figure, "png")
