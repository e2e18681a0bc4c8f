"""Sweep: every way in which a slider can be broken is named with its position; a sound Explorer passes."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection

from helpers.lab import Explorer, choice, log_slider, slider, text, toggle
from helpers.lab.controls import positions
from helpers.lab.sweep import SweepError, sweep


class Sound:
    """A point and a line that follow n; small and without axes because a sweep draws often."""

    def __init__(self, figure):
        figure.set_size_inches(1, 0.5)
        self.figure = figure
        self.axes = figure.subplots()
        self.axes.set(xlim=(0, 8), ylim=(0, 8))
        self.axes.set_axis_off()
        (self.line,) = self.axes.plot([1, 2, 3], [1, 2, 1])
        self.seen = []
        self.build()

    def build(self):
        """Make further artists."""

    def update(self, **values):
        self.seen.append(values)
        self.line.set_ydata([1, values.get("n", 1), 1])
        return self.more(**values) or "Fine."

    def more(self, **values):
        """Move further artists; may return another caption."""


def explore(picture, **controls):
    return Explorer(picture, **({"n": slider("n", 1, 5, 1, value=2)} | controls))


def fails(explorer, message, n_random=8):
    with pytest.raises(SweepError) as caught:
        sweep(explorer, n_random)
    assert str(caught.value) == message
    return caught.value


# the button


class Trained(Sound):
    """A point whose height is trained; a subclass says how that goes wrong."""

    trained = 0.0
    runs = 0

    def more(self, n, **values):
        self.line.set_xdata([1, 2, 3 + self.trained])

    def run(self, progress, n):
        self.runs += 1
        for _ in progress(range(3), "3 steps"):
            self.trained += 1.0
        return self.result(n)

    def result(self, n):
        self.line.set_xdata([1, 2, 3 + self.trained])
        return f"Trained to {self.trained:g}."


def press(picture):
    return Explorer(picture, run="Train now", n=slider("n", 1, 5, 1, value=2))


def test_the_button_is_pressed_once_after_all_else():
    explorer = press(Trained)
    assert sweep(explorer) == 1 + 8 + 5
    assert explorer.picture.runs == 1
    assert explorer.picture.seen[-1] == explorer.values == {"n": 2}


def test_a_run_that_fails_is_named():
    class Failing(Trained):
        def result(self, n):
            raise ZeroDivisionError(f"n is {n}")

    error = fails(press(Failing), "'Train now' at {'n': 2}: ZeroDivisionError: n is 2")
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_a_run_that_shows_nothing_is_named():
    class Dead(Trained):
        def run(self, progress, n):
            return "Nothing happened."

    fails(press(Dead), "'Train now' at {'n': 2}: changes no pixel")


def test_a_run_that_is_not_finite_is_named():
    class Vague(Trained):
        def result(self, n):
            return "Trained to nan."

    class Broken(Trained):
        def result(self, n):
            self.line.set_xdata([1, np.nan, 2])
            return "Fine."

    here = "'Train now' at {'n': 2}: "
    fails(press(Vague), here + "the caption holds a number that is not finite: 'Trained to nan.'")
    fails(press(Broken), here + "NaN or infinity in a Line2D")


def test_a_run_that_leaves_a_stale_background_is_named():
    class Stale(Trained):
        def result(self, n):
            self.axes.patch.set_facecolor("red")
            self.axes.set_axis_on()
            self.figure.stale = False
            return super().result(n)

    message = "the kept background is stale: update changed what a redraw shows differently"
    fails(press(Stale), "'Train now' at {'n': 2}: " + message)


def test_a_move_that_fails_after_the_run_is_named():
    class Spoilt(Trained):
        def more(self, n, **values):
            if self.trained:
                raise ValueError("trained already")

    fails(press(Spoilt), "at {'n': 2}: ValueError: trained already")


# sound Explorers


class Rich(Sound):
    def more(self, n, show, colour, height):
        self.line.set(visible=show, color=colour, xdata=[1, 1 + height, 3])


def rich():
    return explore(
        Rich,
        show=toggle("show", value=True),
        colour=choice("colour", ["red", "green", "blue"]),
        height=slider("height", 0.0, 5.0, 0.5, value=1.0),
    )


@pytest.mark.parametrize("n_random", [0, 1, 5])
def test_number_of_positions(n_random):
    assert sweep(rich(), n_random) == 1 + n_random + 5 + 2 + 3 + 11


def test_eight_random_positions_by_default():
    assert sweep(explore(Sound)) == 1 + 8 + 5


@pytest.mark.parametrize(
    ("control", "count"),
    [
        (slider("n", 1, 24, 1, value=24), 24),
        (slider("n", 1, 25, 1, value=25), 12),
        (slider("n", 0.0, 2.5, 0.125, value=2.5), 21),
        (slider("n", 0.0, 8.0, 0.01, value=8.0), 12),
        (log_slider("n", 1.0, 100.0, value=100.0), 21),
        (log_slider("n", 1.0, 1000.0, value=1000.0), 12),
    ],
)
def test_every_point_of_a_slider_up_to_24_and_twelve_of_a_longer_one(control, count):
    explorer = explore(Sound, n=control)
    first, last = positions(control, limit=2)
    assert sweep(explorer, 0) == 1 + count
    tried = {values["n"] for values in explorer.picture.seen}
    assert len(tried) == count  # none twice, and the default is an end
    assert {first, last} <= tried


def test_every_choice_of_a_long_list_is_tried():
    explorer = explore(Sound, n=choice("n", {str(k): k for k in range(70)}))
    assert sweep(explorer, 0) == 1 + 70
    assert {values["n"] for values in explorer.picture.seen} == set(range(70))


def test_every_position_of_every_control_is_tried_at_the_defaults():
    explorer = rich()
    default = explorer.values
    sweep(explorer, 0)
    seen = explorer.picture.seen
    for name, values in {
        "n": range(1, 6),
        "show": (False, True),
        "colour": ("red", "green", "blue"),
        "height": np.arange(11) / 2,
    }.items():
        for value in values:
            assert default | {name: value} in seen


def test_random_positions_move_all_controls_within_their_ranges():
    explorer = rich()
    sweep(explorer, 30)
    random = explorer.picture.seen[2:32]  # after the first picture and the visit to the defaults
    assert {values["n"] for values in random} == {1, 2, 3, 4, 5}
    assert {values["show"] for values in random} == {True, False}
    assert {values["colour"] for values in random} == {"red", "green", "blue"}
    heights = [values["height"] for values in random]
    assert min(heights) >= 0
    assert max(heights) <= 5
    assert np.ptp(heights) > 3
    assert all(type(values["n"]) is int and type(values["height"]) is float for values in random)


def test_two_sweeps_try_the_same_positions():
    one, two = rich(), rich()
    for explorer in (one, two):
        sweep(explorer)
    assert one.picture.seen == two.picture.seen


def test_the_explorer_is_left_at_its_defaults():
    explorer = explore(Sound)
    before = explorer.draw()
    explorer.set(n=3)
    explorer.reset()
    sweep(explorer)
    assert explorer.values == {"n": 2}
    assert np.array_equal(explorer.draw(), before)


def test_a_position_that_comes_again_is_visited_once():
    """All but the defaults: they are the first picture, where the sweep starts, and where it must come back to."""
    explorer = explore(Sound)
    sweep(explorer, 30)
    assert sorted(values["n"] for values in explorer.picture.seen) == [1, 2, 2, 2, 3, 4, 5]


# controls that do nothing


def test_a_dead_slider():
    fails(explore(Sound, m=slider("m", 0, 3, 1, value=1)), "dead control: moving m changes no pixel")


def test_all_dead_controls_are_named():
    explorer = explore(Sound, z=toggle("z"), m=slider("m", 0, 3, 1, value=1))
    fails(explorer, "dead control: moving m, z changes no pixel")


def test_a_control_that_changes_the_caption_only_is_dead():
    class Caption(Sound):
        def more(self, n, m):
            return f"m is {m}"

    fails(explore(Caption, m=slider("m", 0, 3, 1, value=1)), "dead control: moving m changes no pixel")


class Context(Sound):
    def more(self, n, show, m):
        self.line.set_xdata([1, 2 + (m / 4 if show else 0), 3])
        self.line.set_alpha(1.0 if show else 0.5)


def test_a_control_that_acts_only_when_another_is_on_is_not_dead():
    explorer = explore(Context, show=toggle("show"), m=slider("m", 0, 9, 1, value=1))
    visited = sweep(explorer)
    random = explorer.picture.seen[2:10]
    contexts = 1 + [values["show"] for values in random].index(True)
    assert visited == 1 + 8 + 5 + 2 + 10 + 2 * contexts  # its two ends in each context, up to the first that is on


def test_without_random_positions_the_context_is_not_found():
    explorer = explore(Context, show=toggle("show"), m=slider("m", 0, 9, 1, value=1))
    fails(explorer, "dead control: moving m changes no pixel", n_random=0)


def test_a_slider_that_acts_at_one_interior_value_only_is_alive():
    class One(Sound):
        def more(self, n, m):
            self.line.set_alpha(0.5 if m == 7 else 1.0)

    assert sweep(explore(One, m=slider("m", 0, 9, 1, value=1)), 0) == 1 + 5 + 10


def test_a_text_field_has_no_other_position_and_is_not_dead():
    class Words(Sound):
        def more(self, n, words):
            self.line.set_alpha(0.2 + 0.1 * len(words.split()))

    assert sweep(explore(Words, words=text("words", value="a b")), 0) == 1 + 5 + 1


def test_results_stored_on_the_grid_of_a_slider_are_enough():
    """A reader cannot reach n = 3 on a slider of step 5, so a sweep must not either."""

    class Stored(Sound):
        def more(self, n):
            self.line.set_alpha({0: 0.2, 5: 0.5, 10: 0.9}[n])

    assert sweep(explore(Stored, n=slider("n", 0, 10, 5, value=5))) == 1 + 8 + 3


# positions that fail


@pytest.mark.parametrize("n_random", [0, 8])
def test_an_exception_at_one_interior_value(n_random):
    class Fails(Sound):
        def more(self, n):
            if n == 4:
                raise ZeroDivisionError("n must not be four")

    error = fails(explore(Fails), "at {'n': 4}: ZeroDivisionError: n must not be four", n_random)
    assert isinstance(error.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("bad", [1, 9, 14, 19])
def test_an_exception_at_one_point_of_a_slider_of_twenty_steps(bad):
    class Fails(Sound):
        def more(self, n):
            if n == bad:
                raise ValueError("not here")

    explorer = explore(Fails, n=slider("n", 0, 20, 1, value=5))
    fails(explorer, f"at {{'n': {bad}}}: ValueError: not here", n_random=0)


def test_an_exception_in_a_combination_that_only_random_positions_meet():
    class Fails(Sound):
        def more(self, n, m):
            self.line.set_xdata([1, 2 + m / 8, 3])
            if n > 2 and m > 2:
                raise ValueError("both are large")

    explorer = explore(Fails, m=slider("m", 0, 5, 1, value=1))
    assert sweep(explorer, 0) > 0
    with pytest.raises(SweepError, match=r"\Aat {'n': [345], 'm': [345]}: ValueError: both are large\Z"):
        sweep(explorer, 8)


@pytest.mark.parametrize("word", ["nan", "NaN", "inf", "-inf", "Inf"])
def test_a_caption_that_is_not_finite(word):
    class Caption(Sound):
        def more(self, n):
            return f"the loss is {word}." if n == 4 else None

    caption = f"the loss is {word}."
    fails(explore(Caption), f"at {{'n': 4}}: the caption holds a number that is not finite: {caption!r}")


@pytest.mark.parametrize("caption", ["information is infinite", "a banana", "the nanny, the infant"])
def test_words_that_hold_nan_or_inf(caption):
    class Caption(Sound):
        def more(self, n):
            return caption

    assert sweep(explore(Caption)) == 14


class NaN(Sound):
    """Base of the pictures with a NaN at n = 4."""

    value = np.nan

    def more(self, n):
        self.put(self.value if n == 4 else float(n))


class LineNaN(NaN):
    kind = "Line2D"

    def put(self, value):
        self.line.set_ydata([1, value, 1])


class LineInfinite(LineNaN):
    value = np.inf


class AbscissaNaN(NaN):
    kind = "Line2D"

    def put(self, value):
        self.line.set_xdata([1, value, 1])


class ScatterNaN(NaN):
    kind = "PathCollection"

    def build(self):
        self.points = self.axes.scatter([1, 2], [1, 2])

    def put(self, value):
        self.points.set_offsets([[1, 1], [2, value]])


class ScatterColourNaN(NaN):
    kind = "PathCollection"

    def build(self):
        self.points = self.axes.scatter([1, 2], [1, 2], c=[0, 1])

    def put(self, value):
        self.points.set_array(np.array([0, value]))


class ImageNaN(NaN):
    kind = "AxesImage"

    def build(self):
        self.image = self.axes.imshow(np.zeros((2, 2)), vmin=0, vmax=9, aspect="auto")

    def put(self, value):
        self.image.set_data([[0, 1], [value, 2]])


class MaskedImage(NaN):
    kind = "AxesImage"

    def build(self):
        self.image = self.axes.imshow(np.zeros((2, 2)), vmin=0, vmax=9, aspect="auto")

    def put(self, value):
        self.image.set_data(np.ma.masked_invalid([[0, 1], [value, 2]]))


class MaskedIntegers(NaN):
    kind = "AxesImage"

    def build(self):
        self.image = self.axes.imshow(np.zeros((2, 2)), vmin=0, vmax=9, aspect="auto")

    def put(self, value):
        self.image.set_data(np.ma.array([[0, 1], [int(np.nan_to_num(value)), 2]], mask=[[0, 0], [np.isnan(value), 0]]))


class MeshNaN(NaN):
    kind = "QuadMesh"

    def build(self):
        self.mesh = self.axes.pcolormesh(np.zeros((2, 2)), vmin=0, vmax=9)

    def put(self, value):
        self.mesh.set_array(np.array([[0, 1], [value, 2]]))


class SegmentsNaN(NaN):
    kind = "LineCollection"

    def build(self):
        self.segments = self.axes.add_collection(LineCollection([[(0, 0), (1, 1)]]))

    def put(self, value):
        self.segments.set_segments([[(0, 0), (1, 1)], [(0, 0), (1, value), (2, 1)]])


class PolygonNaN(NaN):
    kind = "PolyCollection"

    def build(self):
        self.polygons = self.axes.add_collection(PolyCollection([[(0, 0), (1, 1), (2, 0)]]))

    def put(self, value):
        self.polygons.set_verts([[(0, 0), (1, value), (2, 0)]])


class BarNaN(NaN):
    kind = "Rectangle"

    def build(self):
        self.bars = self.axes.bar([1, 2], [1, 1])

    def put(self, value):
        self.bars[1].set_height(value)


PICTURES = [
    LineNaN,
    LineInfinite,
    AbscissaNaN,
    ScatterNaN,
    ScatterColourNaN,
    ImageNaN,
    MaskedImage,
    MaskedIntegers,
    MeshNaN,
    SegmentsNaN,
]
PICTURES += [PolygonNaN, BarNaN]


@pytest.mark.parametrize("picture", PICTURES)
def test_nan_in_an_artist(picture):
    with pytest.raises(SweepError, match=rf"\Aat {{'n': 4}}: NaN or infinity in a {picture.kind}"):
        sweep(explore(picture), 0)


@pytest.mark.parametrize("picture", PICTURES)
def test_the_same_artists_without_nan(picture):
    class Finite(picture):
        value = 4.0

    assert sweep(explore(Finite), 0) == 1 + 5


def test_a_contour_is_no_nan():
    class Contour(Sound):
        def build(self):
            x = np.linspace(0, 8, 6)
            self.axes.contourf(x, x, np.hypot(x, x[:, None]), levels=[1, 2, 3], extend="both")

    assert sweep(explore(Contour), 0) == 1 + 5


def test_a_hidden_artist_may_hold_nan():
    class Hidden(Sound):
        def build(self):
            (self.other,) = self.axes.plot([1, 2], [1, 2])

        def more(self, n):
            self.other.set(ydata=[1, np.nan], visible=False) if n == 4 else self.other.set(ydata=[1, 2], visible=True)

    assert sweep(explore(Hidden), 0) == 1 + 5


def test_a_background_that_is_not_renewed():
    """Tick labels that read a variable: nothing tells the figure that they changed."""

    class Ticks(Sound):
        def build(self):
            self.n = 2
            self.figure.set_size_inches(2, 1)
            self.axes.set_axis_on()
            self.axes.xaxis.set_major_formatter(lambda *_: "8" * self.n)

        def more(self, n):
            self.n = n

    message = "the kept background is stale: update changed what a redraw shows differently"
    with pytest.raises(SweepError, match=rf"\Aat {{'n': [1345]}}: {message}\Z"):
        sweep(explore(Ticks))


# pictures that remember


STATE = "back at the defaults, the picture or the caption is not what it was: update keeps state"


def test_a_picture_that_remembers_the_largest_value():
    class Largest(Sound):
        def build(self):
            self.largest = 0

        def more(self, n):
            self.largest = max(n, self.largest)
            self.line.set_xdata([1, 2, self.largest])

    fails(explore(Largest), STATE)


def test_a_caption_that_remembers():
    class Counts(Sound):
        def more(self, n):
            return f"this is update {len(self.seen)}"

    fails(explore(Counts), STATE)
