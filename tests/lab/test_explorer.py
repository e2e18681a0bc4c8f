"""Explorer: what a reader, a test and a page without a kernel get from a movable picture."""

import io
import re
from xml.etree import ElementTree

import ipywidgets as widgets
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from helpers.lab import Explorer, choice, log_slider, progress, slider, text, toggle


class Small:
    """Base of the pictures below: one bare pair of axes, small because the tests draw often."""

    def __init__(self, figure):
        figure.set_size_inches(3, 1.5)
        self.figure = figure
        self.axes = figure.subplots()
        self.axes.set(xlim=(0, 4), ylim=(0, 4))
        self.build()

    def build(self):
        """Make the artists."""


class Line(Small):
    """A line whose height is n; fails in words at n = 5; counts its updates."""

    def build(self):
        (self.line,) = self.axes.plot([1, 2, 3], [1, 2, 1])
        self.updates = []

    def update(self, n, show=True):
        self.updates.append((n, show))
        if n == 5:
            raise ValueError("n = 5 is <too> much & more")
        self.line.set(ydata=[1, 1 + n / 4, 1], visible=show)
        return f"the peak is at {1 + n / 4:.3g}"


def explore(picture=Line, **controls):
    default = {"n": slider("height n", 0, 6, 1, value=2), "show": toggle("show", value=True)}
    return Explorer(picture, **(controls or default))


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def on_page(explorer):
    """The picture on the page, as pixels."""
    return decode(explorer.children[1].value)


def paragraph(explorer):
    """The caption on the page; as it is read as XML, a sentence that is not escaped breaks the test."""
    return ElementTree.fromstring(explorer.children[2].value)


def said(explorer):
    """The caption on the page, as a reader sees it."""
    return "".join(paragraph(explorer).itertext())


# what it is made of


def test_controls_and_reset_stand_above_the_picture_and_its_caption():
    explorer = explore()
    controls, image, caption, _ = explorer.children
    n, show, reset = controls.children
    assert (n, show) == (explorer.controls["n"], explorer.controls["show"])
    assert (reset.description, reset.tooltip) == ("Reset", "Put every control back to its default")
    assert n.style.description_width in reset.layout.margin  # it begins where the sliders do
    assert controls.layout.display == "grid"  # as many columns of controls as there is room for
    assert type(image) is widgets.Image
    assert type(caption) is widgets.HTML


def test_nothing_is_wider_than_the_picture_and_a_narrow_page_shrinks_it():
    controls, image, caption, _ = explore().children
    assert (image.width, image.height, image.format) == ("300", "150", "png")
    assert (image.layout.width, image.layout.max_width, image.layout.height) == ("300px", "100%", "auto")
    for part in (controls, caption):
        assert (part.layout.width, part.layout.max_width) == ("100%", "300px")


def test_a_caption_of_three_lines_fits_and_no_caption_moves_the_page():
    explorer = explore()
    layout, style = explorer.children[2].layout, paragraph(explorer).get("style")
    height = float(layout.height.removesuffix("em"))
    lines = height / float(re.search(r"line-height: ([\d.]+)", style)[1])
    assert 3 <= lines < 4
    assert "margin: 0;" in style
    assert layout.overflow == "auto"  # a longer one is scrolled


def test_a_screen_reader_is_told_of_a_new_caption():
    explorer = explore()
    *_, announcer = explorer.children  # tests/browser looks at what the page makes of it
    assert announcer.sentence == explorer.caption
    explorer.set(n=4)
    assert announcer.sentence == said(explorer) == "the peak is at 2"
    with pytest.raises(ValueError, match="too"):
        explorer.set(n=5)
    assert announcer.sentence == said(explorer) == FAILED


def test_the_announcer_takes_no_room_and_knows_its_explorer():
    explorer = explore()
    *_, announcer = explorer.children
    assert "movable-explorer" in explorer._dom_classes
    assert "movable-announcer" in announcer._dom_classes
    assert "movable-caption" in explorer.children[2]._dom_classes
    assert "position: absolute" in announcer._css


@pytest.mark.parametrize(
    ("controls", "main", "chosen"),
    [
        ({"show": toggle("show"), "n": slider("n", 0, 6, 1, value=2)}, None, "n"),
        ({"show": toggle("show"), "n": log_slider("n", 1, 4, value=2, base=2)}, None, "n"),
        ({"show": toggle("show"), "n": slider("n", 0, 6, 1, value=2)}, "show", "show"),
        ({"show": toggle("show"), "n": choice("n", {"few": 1, "more": 2})}, None, "show"),
    ],
    ids=["slider", "log slider", "named", "no slider"],
)
def test_the_main_control(controls, main, chosen):
    assert Explorer(Line, main=main, **controls).main == chosen


def test_the_main_control_must_exist(refuses):
    with refuses(ValueError, "main must be one of n; got 'm'"):
        Explorer(Line, main="m", n=slider("n", 0, 6, 1, value=2))


def test_figure_has_the_width_of_the_collection():
    class Default:
        def __init__(self, figure):
            (self.line,) = figure.subplots().plot([0, 1])

        def update(self, n):
            self.line.set_ydata([0, n])
            return f"n is {n}"

    assert explore(Default, n=slider("n", 0, 3, 1, value=1)).draw().shape == (360, 840, 3)


def test_labels_are_inside_the_picture():
    class Labelled(Small):
        def build(self):
            self.axes.set(xlabel="time t", ylabel="height y")
            (self.line,) = self.axes.plot([1, 2], [1, 2])

        def update(self, n):
            self.line.set_ydata([1, n])
            return f"n is {n}"

    rgb = explore(Labelled, n=slider("n", 0, 3, 1, value=1)).draw()
    rows, columns = np.argwhere((rgb < 200).any(axis=2)).T
    assert rows.min() > 0
    assert rows.max() < 149
    assert columns.min() > 0
    assert columns.max() < 299


def test_layout_is_solved_with_the_first_caption_and_ticks_and_then_kept():
    class Ticks(Small):
        def build(self):
            self.axes.set_yticks([1, 2])

        def update(self, n):
            self.axes.set_yticks([1, 2], labels=["i", "i" * n])
            return f"n is {n}"

    with mpl.rc_context({"figure.constrained_layout.use": True}):
        explorer = explore(Ticks, n=slider("n", 1, 20, 1, value=20))
        wide = explorer.picture.axes.get_position().x0
        explorer.set(n=1)
    assert explorer.picture.axes.get_position().x0 == wide
    assert wide > explore(Ticks, n=slider("n", 1, 20, 1, value=1)).picture.axes.get_position().x0


def test_nothing_stays_open_in_pyplot():
    explore().set(n=3)
    assert plt.get_fignums() == []


def test_at_least_one_control(refuses):
    with refuses(TypeError, "an Explorer needs at least one control, got none"):
        Explorer(Line)


@pytest.mark.parametrize("value", [3, None, (0, 6), ["a", "b"]])
def test_a_control_must_be_a_widget(value, refuses):
    with refuses(TypeError, f"show must be a control made by slider, choice, …; got {value!r}"):
        explore(n=slider("n", 0, 6, 1, value=2), show=value)


@pytest.mark.parametrize("caption", [None, "", "  \n", 3, ["n is 2"]])
def test_update_must_return_a_sentence(caption, refuses):
    class Mute(Small):
        def update(self, n):
            return caption

    with refuses(TypeError, f"Mute.update must return a sentence, got {caption!r}"):
        explore(Mute, n=slider("n", 0, 4, 1, value=2))


# values, set, reset


def test_values_and_caption_at_the_start():
    explorer = explore()
    assert explorer.values == {"n": 2, "show": True}
    assert explorer.caption == "the peak is at 1.5"
    assert repr(explorer) == "the peak is at 1.5"
    assert explorer.picture.updates == [(2, True)]
    assert said(explorer) == "the peak is at 1.5"
    assert np.array_equal(on_page(explorer), explorer.draw())


def test_set_moves_controls_picture_and_caption():
    explorer = explore()
    before = explorer.draw()
    explorer.set(n=4)
    assert explorer.values == {"n": 4, "show": True}
    assert explorer.controls["n"].value == 4
    assert explorer.caption == repr(explorer) == said(explorer) == "the peak is at 2"
    after = explorer.draw()
    assert not np.array_equal(before, after)
    assert np.array_equal(on_page(explorer), after)


def test_setting_several_controls_is_one_update():
    explorer = explore()
    explorer.set(n=3, show=False)
    assert explorer.picture.updates == [(2, True), (3, False)]
    explorer.set(n=4)
    assert explorer.picture.updates[2:] == [(4, False)]


def test_a_reader_moves_one_control():
    explorer = explore()
    explorer.controls["n"].value = 3
    assert explorer.picture.updates == [(2, True), (3, True)]
    assert explorer.caption == said(explorer) == "the peak is at 1.75"
    assert np.array_equal(on_page(explorer), explorer.draw())
    explorer.controls["n"].max = 60  # not a move
    assert len(explorer.picture.updates) == 2


def test_reset_goes_back_to_the_start():
    explorer = explore()
    picture, caption = explorer.draw(), explorer.caption
    explorer.set(n=4, show=False)
    explorer.reset()
    assert (explorer.values, explorer.caption) == ({"n": 2, "show": True}, caption)
    assert np.array_equal(explorer.draw(), picture)
    assert explorer.picture.updates == [(2, True), (4, False), (2, True)]


def test_the_reset_button_resets():
    explorer = explore()
    explorer.set(n=4, show=False)
    explorer.children[0].children[-1].click()
    assert explorer.values == {"n": 2, "show": True}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"m": 1}, "'m' is not a control; there are n, show"),
        ({"n": 7}, "n must lie in [0, 6]; got 7"),
        ({"n": -1}, "n must lie in [0, 6]; got -1"),
        ({"n": 1.5}, "n must be a whole number; got 1.5"),
        ({"show": 1}, "show must be a bool; got 1"),
        ({"n": 4, "show": "yes"}, "show must be a bool; got 'yes'"),
        ({"n": 4, "m": 1}, "'m' is not a control; there are n, show"),
    ],
)
def test_a_refused_position_moves_nothing(values, message, refuses):
    explorer = explore()
    with refuses(ValueError, message):
        explorer.set(**values)
    assert explorer.values == {"n": 2, "show": True}
    assert explorer.picture.updates == [(2, True)]


# a position that fails


FAILED = "This position failed. ValueError: n = 5 is <too> much & more"


def test_a_failing_update_is_shown_in_words_and_raised_again(refuses):
    explorer = explore()
    picture = on_page(explorer)
    with refuses(ValueError, "n = 5 is <too> much & more"):
        explorer.set(n=5)
    assert said(explorer) == FAILED
    assert [part.text for part in paragraph(explorer)] == ["This position failed."]  # which stands out
    assert np.array_equal(on_page(explorer), picture)


def test_a_failing_move_of_a_reader_is_raised_too(refuses):
    explorer = explore()
    with refuses(ValueError, "n = 5 is <too> much & more"):
        explorer.controls["n"].value = 5
    assert said(explorer) == FAILED


def test_the_next_good_position_recovers():
    explorer, other = explore(), explore()
    with pytest.raises(ValueError, match="too"):
        explorer.set(n=5)
    twin = explorer._repr_mimebundle_()[0]["text/plain"]  # of the picture that is still shown, not of what failed
    assert twin == other._repr_mimebundle_()[0]["text/plain"]
    for one in (explorer, other):
        one.set(n=3)
    assert said(explorer) == "the peak is at 1.75"
    assert np.array_equal(on_page(explorer), other.draw())
    explorer.controls["n"].value = 4  # and controls still move it
    assert explorer.caption == "the peak is at 2"


def test_a_failure_while_drawing_is_shown_too():
    class Broken(Small):
        def update(self, n):
            self.axes.set_title("$\\nothing$" if n == 3 else "")
            return f"n is {n}"

    explorer = explore(Broken, n=slider("n", 0, 4, 1, value=2))
    with pytest.raises(ValueError, match="nothing"):
        explorer.set(n=3)
    assert said(explorer).startswith("This position failed. ValueError: ")
    explorer.set(n=2)
    assert said(explorer) == "n is 2"


def test_a_missing_sentence_later_on_is_a_failure():
    class Sometimes(Small):
        def update(self, n):
            return "n is small" if n < 3 else None

    explorer = explore(Sometimes, n=slider("n", 0, 4, 1, value=2))
    with pytest.raises(TypeError, match="must return a sentence"):
        explorer.set(n=3)
    assert explorer.caption == "n is small"


def test_the_caption_is_text_not_html():
    class Markup(Small):
        def update(self, n):
            return f"{n} < 3 & <b>not bold</b>"

    explorer = explore(Markup, n=slider("n", 0, 4, 1, value=2))
    assert said(explorer) == "2 < 3 & <b>not bold</b>"


# long work behind a button


class Trained(Line):
    """A line that keeps the height it was trained to; fails in words when it is trained with n = 4."""

    def build(self):
        super().build()
        self.runs, self.each_step, self.trained = [], lambda: None, 0

    def update(self, n, show=True):
        super().update(n, show)
        self.line.set_ydata([1, 1 + n / 4, 1 + self.trained])
        return f"n is {n}, trained to {self.trained}"

    def run(self, progress, n, show=True):
        self.runs.append((n, show))
        for k in progress(range(1, 4), '3 <steps> & "more"'):
            self.each_step()
            if n == 4:
                raise ValueError("n = 4 is <too> much & more")
            self.trained = k * n / 4
        self.line.set_ydata([1, 1, 1 + self.trained])
        return f"trained to {self.trained} in 3 steps"


def trained(picture=Trained, **controls):
    default = {"n": slider("height n", 0, 6, 1, value=2), "show": toggle("show", value=True)}
    return Explorer(picture, run="Train now", **(controls or default))


def bar(explorer):
    """The bar beside the button, read as a browser does: attributes may stand without a value only in HTML."""
    return ElementTree.fromstring(explorer.job.bar.value).attrib


def resting(explorer):
    """What is disabled on the page, and whether the bar is seen."""
    return [part.disabled for part in explorer.children[0].children[:-1]], explorer.job.bar.layout.visibility


AT_REST, AT_WORK = ([False] * 3, "hidden"), ([True] * 3, "visible")


def test_without_run_there_is_no_button_to_press(refuses):
    explorer = explore(Trained)
    assert explorer.job is None
    assert len(explorer.children[0].children) == 3
    with refuses(TypeError, "there is no button to press: the Explorer was made without run"):
        explorer.run()
    assert explorer.picture.runs == []


def test_the_button_stands_below_the_controls_with_its_bar_out_of_sight():
    explorer = trained()
    *_, reset, job = explorer.children[0].children
    assert job is explorer.job
    assert (reset.description, job.button.description) == ("Reset", "Train now")
    assert job.children == (job.button, job.bar)
    assert job.layout.grid_area == "auto / 1 / auto / -1"
    assert (job.button.icon, job.button.layout.width, job.layout.align_items) == ("play", "auto", "center")
    assert explorer.controls["n"].style.description_width in job.layout.margin  # it begins where the sliders do
    assert resting(explorer) == AT_REST
    assert explorer.picture.runs == []
    assert explorer.caption == "n is 2, trained to 0"


def test_pressing_it_runs_at_the_present_values_and_shows_the_result():
    explorer = trained()
    explorer.set(n=3, show=True)
    picture = explorer.frame
    explorer.job.button.click()
    assert explorer.picture.runs == [(3, True)]
    assert explorer.caption == said(explorer) == repr(explorer) == "trained to 2.25 in 3 steps"
    assert not np.array_equal(on_page(explorer), picture)
    assert np.array_equal(on_page(explorer), explorer.frame)
    assert np.array_equal(explorer.frame, explorer.redraw())
    sentence = "trained to 2.25 in 3 steps [height n = 3; show = on; run the cell to move it]"
    assert explorer._repr_mimebundle_()[0]["text/plain"] == sentence


def test_a_press_during_a_run_comes_in_after_it_and_does_nothing(monkeypatch):
    explorer = trained()
    now = 5.0
    monkeypatch.setattr("helpers.lab.explorer.time.monotonic", lambda: now)
    explorer.job.button.click()
    explorer.job.button.click()  # what waited for the kernel
    assert explorer.picture.runs == [(2, True)]
    now += 0.31
    explorer.job.button.click()
    assert explorer.picture.runs == [(2, True)] * 2
    explorer.run()  # a script is never impatient
    assert len(explorer.picture.runs) == 3


def test_a_run_is_no_update_and_the_next_move_is():
    explorer = trained()
    explorer.run()
    assert explorer.picture.updates == [(2, True)]
    explorer.set(n=1)
    assert explorer.picture.updates == [(2, True), (1, True)]
    assert explorer.caption == "n is 1, trained to 1.5"  # the picture keeps what it wants to
    assert explorer.picture.runs == [(2, True)]


def test_at_work_nothing_can_be_pressed_and_the_bar_moves():
    explorer = trained()
    seen = []
    explorer.picture.each_step = lambda: seen.append((resting(explorer), bar(explorer)["value"]))
    explorer.run()
    assert seen == [(AT_WORK, "0"), (AT_WORK, "33"), (AT_WORK, "66")]
    assert bar(explorer)["value"] == bar(explorer)["max"] == "100"
    assert resting(explorer) == AT_REST
    seen.clear()
    explorer.run()
    assert [value for _, value in seen] == ["0", "33", "66"]  # it begins anew


def test_the_bar_has_a_name_for_a_screen_reader():
    explorer = trained()
    explorer.run()
    assert ElementTree.fromstring(explorer.job.bar.value).tag == "progress"  # which has its role in every browser
    assert bar(explorer)["aria-label"] == bar(explorer)["title"] == '3 <steps> & "more"'


def test_the_bar_keeps_its_place_when_it_is_not_seen():
    explorer = trained()
    layout = explorer.job.bar.layout
    assert (layout.flex, layout.min_width, layout.display) == ("1 1 0%", "0", None)
    height = explorer.job.layout.height
    explorer.picture.each_step = lambda: heights.append((layout.display, layout.height, explorer.job.layout.height))
    heights = []
    explorer.run()
    assert set(heights) == {(None, None, height)}


def test_a_failing_run_is_shown_in_words_and_raised_again(refuses):
    explorer = trained()
    explorer.set(n=4)
    picture, twin = on_page(explorer), explorer._repr_mimebundle_()[0]["text/plain"]
    with refuses(ValueError, "n = 4 is <too> much & more"):
        explorer.run()
    assert said(explorer) == "The run failed. ValueError: n = 4 is <too> much & more"
    assert [part.text for part in paragraph(explorer)] == ["The run failed."]
    assert np.array_equal(on_page(explorer), picture)
    assert explorer._repr_mimebundle_()[0]["text/plain"] == twin
    assert resting(explorer) == AT_REST
    explorer.set(n=3)
    assert said(explorer) == "n is 3, trained to 0"


def test_a_reader_who_interrupts_it_can_go_on():
    explorer = trained()

    def interrupt():
        raise KeyboardInterrupt

    explorer.picture.each_step = interrupt
    with pytest.raises(KeyboardInterrupt):
        explorer.run()
    assert resting(explorer) == AT_REST
    assert said(explorer) == "n is 2, trained to 0"


@pytest.mark.parametrize("caption", [None, "", " ", 3])
def test_run_must_return_a_sentence(caption, refuses):
    class Mute(Trained):
        def run(self, progress, **values):
            return caption

    explorer = trained(Mute)
    with refuses(TypeError, f"Mute.run must return a sentence, got {caption!r}"):
        explorer.run()


@pytest.mark.parametrize("text", ["", "  ", 3, True, toggle("run")])
def test_run_must_be_the_text_of_the_button(text, refuses):
    with refuses(TypeError, f"run must be the text of the button, got {text!r}"):
        Explorer(Trained, run=text, n=slider("n", 0, 6, 1, value=2))


@pytest.mark.parametrize("attributes", [{}, {"run": "now"}])
def test_run_needs_a_method(attributes, refuses):
    picture = type("Idle", (Line,), attributes)
    with refuses(TypeError, "run='Train now' needs a method Idle.run(progress, **values)"):
        trained(picture)


def test_progress_is_called_as_that_of_the_lab(shown):
    """So that a script or a test can let the same method print a bar of its own."""
    figure = Figure()
    FigureCanvasAgg(figure)
    assert Trained(figure).run(progress, n=2) == "trained to 1.5 in 3 steps"
    assert repr(shown[0]) == '3 <steps> & "more"'


# without a kernel


def test_one_output_holds_widget_picture_and_sentence():
    explorer = explore()
    explorer.set(n=4)
    data, metadata = explorer._repr_mimebundle_(include=None, exclude=None)
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    sentence = "the peak is at 2 [height n = 4; show = on; run the cell to move it]"
    assert data["text/plain"] == sentence
    picture = decode(data["image/png"])
    height, width, channels = picture.shape
    assert metadata == {"image/png": {"alt": sentence, "width": width, "height": height}}
    assert (width, channels) == (300, 3)
    assert np.array_equal(picture[:150], explorer.draw())
    assert height > 150
    assert (picture[150:] < 128).any()  # the sentence stands below the picture


def test_the_page_without_a_kernel_shows_the_position_of_every_control():
    class Any(Small):
        def update(self, **values):
            return "Fine."

    explorer = explore(
        Any,
        whole=slider("a", 0, 200, 1, value=100),
        real=slider("b", 0.0, 20.0, 0.1, value=0.1 + 0.2),
        even=slider("c", 0.0, 20.0, 0.5, value=10.0),
        zero=slider("d", -1.0, 1.0, 0.5, value=0.0),
        small=slider("rate", 0.0, 1e-6, 1e-7, value=3e-7),
        minus=slider("e", -1.0, 1.0, 0.25, value=-0.25),
        log=log_slider("f", 1, 1000, value=100),
        first=log_slider("lowest", 2, 16, value=2, base=2, divisions=1),
        buttons=choice("g", {"before": 1, "after": 2}),
        menu=choice("h", list("abcde"), value="e"),
        on=toggle("i", value=True),
        off=toggle("j"),
        words=text("k", value="to be 1.50"),
    )
    assert explorer._repr_mimebundle_()[0]["text/plain"] == (
        "Fine. [a = 100; b = 0.3; c = 10; d = 0; rate = 3e-07; e = -0.25; f = 100; lowest = 2; g = before; h = e; "
        "i = on; j = off; k = to be 1.50; run the cell to move it]"
    )


# the picture over the kept background


class ImagePicture(Small):
    def build(self):
        self.axes.set_axis_off()
        self.image = self.axes.imshow(np.zeros((4, 4)), vmin=0, vmax=8, extent=(0, 4, 0, 4))

    def update(self, n):
        self.image.set_data(np.arange(16).reshape(4, 4) % (n + 1))
        return f"n is {n}"


class ContourPicture(Small):
    """Contours cannot be given new data: the old ones go, new ones come."""

    def build(self):
        self.axes.set_axis_off()
        self.contours = None

    def update(self, n):
        if self.contours is not None:
            self.contours.remove()
        x = np.linspace(0, 4, 15)
        self.contours = self.axes.contour(x, x, np.hypot(x - n, x[:, None] - 2), levels=[0.5, 1.0, 1.5])
        return f"n is {n}"


class MeshWithColorbar(Small):
    def build(self):
        self.axes.set_axis_off()
        self.mesh = self.axes.pcolormesh(np.arange(9).reshape(3, 3), vmin=0, vmax=8)
        self.figure.colorbar(self.mesh)

    def update(self, n):
        self.mesh.set_array(np.arange(9).reshape(3, 3) % (n + 1))
        self.mesh.set_clim(0, 2 * n + 1)
        return f"n is {n}"


class LegendPicture(Small):
    def build(self):
        (self.line,) = self.axes.plot([1, 2, 3], [1, 2, 1], label="n = 0")
        self.legend = self.axes.legend(loc="upper right")

    def update(self, n):
        self.line.set(ydata=[1, n / 2 + 1, 1], color=f"C{n}")
        self.legend.get_texts()[0].set_text(f"n = {n}")
        return f"n is {n}"


class KeptLegendPicture(Small):
    """A legend places its parts while it is drawn: that is no change of the background."""

    def build(self):
        (self.line,) = self.axes.plot([1, 2, 3], [1, 2, 1], label="line")
        self.axes.legend(loc="upper right")

    def update(self, n):
        self.line.set_ydata([1, n / 2 + 1, 1])
        return f"n is {n}"


class TextPicture(Small):
    def build(self):
        self.text = self.axes.text(1, 1, "", fontsize=14)
        self.note = self.axes.annotate("", (3, 1), (2, 3), arrowprops={"arrowstyle": "->"})

    def update(self, n):
        self.text.set(text=f"n is {n}", x=0.5 + n / 4)
        self.note.xy = (3, 0.5 + n / 2)
        return f"n is {n}"


class PatchPicture(Small):
    def build(self):
        self.bars = self.axes.bar([1, 2, 3], [0, 0, 0], bottom=0.5)

    def update(self, n):
        for k, bar in enumerate(self.bars):
            bar.set_height((n + k) % 5 / 2 + 0.5)
        return f"n is {n}"


class ScatterPicture(Small):
    def build(self):
        self.points = self.axes.scatter([1, 2, 3], [1, 2, 3], c=[0, 1, 2], vmin=0, vmax=4)
        self.band = self.axes.fill_between([1, 3], [1, 1], [2, 2], alpha=0.3)

    def update(self, n):
        self.points.set_offsets(np.column_stack([[1, 2, 3], [1, 1 + n / 3, 2]]))
        self.points.set_array(np.array([n, 0, 1]))
        self.band.set_data([1, 3], [1, 1], [2, 1 + n / 3])
        return f"n is {n}"


class TitlePicture(Small):
    def update(self, n):
        self.axes.set_title(f"n is {n}", fontsize=8)
        self.axes.set_xlabel("n" * n, fontsize=8)
        return f"n is {n}"


class LimitsPicture(Small):
    def build(self):
        self.axes.plot([1, 2, 3], [1, 2, 1])

    def update(self, n):
        self.axes.set_xlim(0, 4 + n)
        self.axes.set_yticks(range(n + 1))
        return f"n is {n}"


class AutoscalePicture(Small):
    def build(self):
        self.axes.autoscale()
        self.axes.margins(0.2)
        (self.line,) = self.axes.plot([1, 2, 3], [1, 2, 1])

    def update(self, n):
        self.line.set_ydata([1, 2 + 10 * n, 1])
        self.axes.relim()
        self.axes.autoscale_view()
        return f"n is {n}"


class FigureTextPicture(Small):
    def build(self):
        self.heading = self.figure.suptitle("n is 0")

    def update(self, n):
        self.heading.set_text(f"n is {n}")
        return f"n is {n}"


class OverlapPicture(Small):
    """Drawn in the order of zorder, whatever kind of artist and whenever it was made."""

    def build(self):
        self.axes.set_axis_off()
        self.axes.plot([0, 4], [2, 2], color="red", linewidth=20, zorder=3)
        (self.below,) = self.axes.plot([2, 2], [0, 4], color="black", linewidth=20, zorder=1)
        self.bar = self.axes.bar([1], [4], color="blue", zorder=2)[0]
        self.axes.scatter([3], [2], s=900, color="green", zorder=0.5)
        self.axes.text(0.5, 1.8, "word", zorder=4)

    def update(self, n):
        self.bar.set_x(n / 2)
        self.below.set_xdata([n, n])
        return f"n is {n}"


class TwoAxesPicture:
    def __init__(self, figure):
        figure.set_size_inches(3, 1.5)
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            axes.set(xlim=(0, 4), ylim=(0, 4))
        (self.line,) = left.plot([1, 2, 3], [1, 2, 1])
        self.points = right.scatter([1, 2], [1, 2])

    def update(self, n):
        self.line.set_ydata([1, n / 2 + 1, 1])
        self.points.set_offsets([[1, 1], [2, 1 + n / 2]])
        return f"n is {n}"


class HiddenPicture(Small):
    def build(self):
        (self.line,) = self.axes.plot([1, 2, 3], [1, 2, 1])
        self.points = self.axes.scatter([1, 2], [1, 2])

    def update(self, n):
        self.line.set_visible(n % 2 == 0)
        self.points.set_visible(n > 2)
        return f"n is {n}"


MOVING = [ImagePicture, PatchPicture, ScatterPicture, OverlapPicture, TwoAxesPicture, HiddenPicture, TextPicture]
MOVING += [KeptLegendPicture]
NOTICED = [TitlePicture, LimitsPicture, AutoscalePicture, FigureTextPicture, LegendPicture, MeshWithColorbar]
NOTICED += [ContourPicture]


def movable(picture):
    return explore(picture, n=slider("n", 0, 4, 1, value=1))


def by_matplotlib(picture):
    """Oracle: the same picture drawn whole by matplotlib at any n, with the layout of the default n = 1."""
    figure = Figure(figsize=(3, 1.5), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    made = picture(figure)

    def at(n):
        made.update(n=n)
        canvas.draw()
        figure.set_layout_engine("none")
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    at(1)
    return at


@pytest.mark.no_cover  # draws much, and nothing that the other tests do not
@pytest.mark.parametrize("picture", MOVING + NOTICED)
def test_picture_equals_one_drawn_whole_at_every_position(picture):
    explorer, whole = movable(picture), by_matplotlib(picture)
    seen = []
    for n in (1, 4, 0, 1):
        explorer.set(n=n)
        seen.append(on_page(explorer))
        assert np.array_equal(seen[-1], explorer.draw())
        assert np.array_equal(seen[-1], explorer.redraw())
        assert np.array_equal(seen[-1], whole(n))
    assert np.array_equal(seen[0], seen[-1])
    assert not np.array_equal(seen[0], seen[1])


def full_draws(explorer, monkeypatch):
    draws = []
    whole = explorer.figure.canvas.draw
    monkeypatch.setattr(explorer.figure.canvas, "draw", lambda: (draws.append(1), whole())[1])
    return draws


@pytest.mark.parametrize("picture", MOVING)
def test_a_move_of_artists_draws_no_background(picture, monkeypatch):
    """The background costs most of the time of a picture: moving artists are drawn over a kept one."""
    explorer = movable(picture)
    draws = full_draws(explorer, monkeypatch)
    for n in (2, 3, 4):
        explorer.set(n=n)
    assert draws == []


def test_one_change_of_title_among_many_moves(monkeypatch):
    class Both(Small):
        def build(self):
            (self.line,) = self.axes.plot([1, 2, 3], [1, 2, 1])

        def update(self, n):
            self.line.set_ydata([1, n / 2 + 1, 1])
            self.axes.set_title("high") if n > 2 else None
            return f"n is {n}"

    explorer = movable(Both)
    draws = full_draws(explorer, monkeypatch)
    for n, total in ((2, 0), (0, 0), (3, 1), (2, 1), (0, 1)):
        explorer.set(n=n)
        assert len(draws) == total
    explorer.redraw()
    assert len(draws) == 2


def test_a_colorbar_belongs_to_the_background():
    explorer = movable(MeshWithColorbar)
    axes, colorbar = explorer.figure.axes
    assert [artist.get_animated() for artist in axes.collections] == [True]
    assert not any(artist.get_animated() for artist in [*colorbar.collections, *colorbar.patches, *colorbar.lines])


def test_draw_returns_a_copy():
    explorer = explore()
    explorer.draw()[:] = 0
    assert explorer.draw().max() == 255


def test_sweep_is_at_hand():
    explorer = explore(n=slider("n", 0, 4, 1, value=2), show=toggle("show", value=True))
    assert explorer.sweep(n_random=2) == 1 + 2 + 5 + 2
    assert explorer.sweep() == 1 + 8 + 5 + 2
    assert explorer.values == {"n": 2, "show": True}
