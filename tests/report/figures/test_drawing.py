"""Colors, legends and files of all pictures."""

import io
import warnings

from helpers.figures import cut_off, lines
from helpers.made_results import (
    ELEVEN,
    base_to_novel,
    few_shot,
    write_runs,
)
from PIL import Image

from open_clip_mmrl.report.figures import drawing
from open_clip_mmrl.report.figures.curves import few_shot_curves
from open_clip_mmrl.report.figures.dots import difference_dots
from open_clip_mmrl.report.figures.drawing import (
    COLORS,
    image_bytes,
    style_of,
)
from open_clip_mmrl.report.figures.radar import radar
from open_clip_mmrl.report.figures.tradeoff import alpha_paths
from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.load.collect import collect

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


def test_methods_keep_their_colors(section_of):
    contents = [base_to_novel("mmrl++", "dtd", 1), base_to_novel("mmrl", "dtd", 1)]
    (axes,) = alpha_paths(section_of(contents), "b2n").figure.axes
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    assert handles["MMRL"].get_color() == COLORS["mmrl"]
    assert handles["MMRL++"].get_color() == COLORS["mmrl++"]


def test_the_same_figure_gives_the_same_bytes(section_of):
    contents = [base_to_novel("mmrl", "dtd", 1), base_to_novel("mmrl", "eurosat", 1)]
    section = section_of(contents)
    first, second = (difference_dots(section, "b2n").figure for _ in range(2))
    assert image_bytes(first, "svg") == image_bytes(second, "svg")
    with Image.open(io.BytesIO(image_bytes(first, "png"))) as image:
        assert image.width > 800


def test_a_font_of_this_machine_draws_what_the_usual_one_lacks(monkeypatch):
    """A letter in the private area, which only one of matplotlib's own fonts has."""

    def picture(text):
        with drawing.style_context():
            figure = drawing.new_figure(2, 1)
            figure.text(0.1, 0.5, text)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return image_bytes(figure)

    assert drawing.font_families()[0] == "sans-serif"
    boxes, plain = picture("\ue000"), picture("one")
    monkeypatch.setattr(drawing, "_WIDE_FONTS", ("No Such Font", "STIXNonUnicode"))
    assert drawing.font_families() == ["sans-serif", "STIXNonUnicode"]
    assert picture("\ue000") != boxes and picture("one") == plain
