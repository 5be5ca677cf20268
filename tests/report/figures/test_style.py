import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lib.report.figures import style


@style.drawn
def small_chart() -> Figure:
    figure = Figure(figsize=(2, 1.5))
    axes = figure.subplots()
    axes.fill_between([0, 1], [0, 1], [1, 2], alpha=0.3)
    style.encoder_line(axes, [0, 1, 2], [(1, 0, 2), None, (3, 2, 4)], "dar_sfrl")
    style.encoder_legend(figure, ["simclr", "dar_sfrl"])
    return figure


def test_files_have_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        style.save(small_chart(), tmp_path / name)
    for suffix in (".svg", ".png"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    text = (tmp_path / "a.svg").read_text()
    assert "<dc:date>" not in text and "Matplotlib v" not in text


def test_callers_settings_neither_matter_nor_change(tmp_path):
    style.save(small_chart(), tmp_path / "a")
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "other"}):
        style.save(small_chart(), tmp_path / "b")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_missing_point_is_a_gap():
    line = small_chart().axes[0].lines[0]
    assert np.isnan(line.get_ydata()[1]) and line.get_ydata()[2] == 3


def test_more_than_four_panels_take_rows_of_three():
    figure, panels = style.panel_row(4, 2.0)
    assert len(panels) == len(figure.axes) == 4 and figure.get_figheight() == 2.0
    figure, panels = style.panel_row(5, 2.0)
    assert len(panels) == 5 and len(figure.axes) == 6 and not figure.axes[5].axison and figure.get_figheight() == 4.0


def test_an_axis_reaches_below_its_lowest_interval():
    assert style.reach(-3, [(50, 40, 60), None, (-2, -2.5, 0)]) == -3
    assert style.reach(-3, [(10, -20, 30), (-50, -60, -40)]) == -63
