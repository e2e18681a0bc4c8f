"""Controls: what each factory makes, what it refuses, and the positions at which it is tested."""

from itertools import repeat
from xml.etree import ElementTree

import ipywidgets as widgets
import pytest

from helpers.lab import choice, log_slider, slider, text, toggle
from helpers.lab.controls import DESCRIPTION_WIDTH, Job, positions, validate

CONTROLS = {
    "slider": lambda: slider("s", 0, 4, 1, value=1),
    "float slider": lambda: slider("s", 0.0, 1.0, 0.5, value=0.5),
    "log slider": lambda: log_slider("s", 1, 8, value=2, base=2, divisions=1),
    "buttons": lambda: choice("s", ["a", "b"]),
    "list": lambda: choice("s", list("abcde")),
    "toggle": lambda: toggle("s"),
    "text": lambda: text("s", value="a"),
}


@pytest.mark.parametrize("kind", CONTROLS)
def test_all_controls_look_alike(kind):
    control = CONTROLS[kind]()
    assert control.description == "s"
    assert control.style.description_width == DESCRIPTION_WIDTH
    assert (control.layout.width, control.layout.max_width) == ("auto", "100%")  # as wide as its column, never wider


def test_whole_numbered_slider():
    control = slider("depth L", 1, 9, 2, value=3)
    assert type(control) is widgets.IntSlider
    assert (control.min, control.max, control.step, control.value) == (1, 9, 2, 3)
    assert control.continuous_update
    assert control.readout_format == "d"


@pytest.mark.parametrize("position", range(4))
def test_one_float_makes_a_float_slider(position):
    low, high, step, value = (float(n) if k == position else n for k, n in enumerate([1, 9, 2, 3]))
    control = slider("depth L", low, high, step, value=value)
    assert type(control) is widgets.FloatSlider
    assert (control.min, control.max, control.step, control.value) == (1.0, 9.0, 2.0, 3.0)
    assert control.readout_format == ".0f"


@pytest.mark.parametrize(
    ("low", "step", "readout"),
    [
        (0.0, 10.0, ".0f"), (0.0, 1.0, ".0f"), (0.0, 1.5, ".1f"), (0.0, 0.25, ".2f"), (0.0, 0.001, ".3f"),
        (0.0, 1e-7, ".7f"), (-0.25, 0.5, ".2f"),
    ],
)  # fmt: skip
def test_readout_shows_every_position_exactly(low, step, readout):
    """The number beside the handle is the number in the picture: 0.75 must not read 0.8."""
    assert slider("s", low, 100.0, step, value=0.0).readout_format == readout


@pytest.mark.parametrize("make", [
    lambda **options: slider("s", 0, 4, 1, value=1, **options),
    lambda **options: slider("s", 0.0, 4.0, 1.0, value=1.0, **options),
    lambda **options: log_slider("s", 1, 8, value=2, **options),
])  # fmt: skip
def test_sliders_move_while_dragged_unless_the_picture_is_slow(make):
    assert make().continuous_update is True
    assert make(continuous=False).continuous_update is False


def test_slider_takes_values_at_both_ends():
    assert slider("s", 0, 4, 1, value=0).value == 0
    assert slider("s", 0, 4, 1, value=4).value == 4


@pytest.mark.parametrize(
    ("arguments", "value", "message"),
    [
        ((3, 3, 1), 3, "low must be below high, got low=3, high=3"),
        ((4, 3, 1), 3, "low must be below high, got low=4, high=3"),
        ((float("nan"), 3, 1), 3, "low must be below high, got low=nan, high=3"),
        ((0, 4, 0), 1, "step must be positive, got 0"),
        ((0, 4, -1), 1, "step must be positive, got -1"),
        ((0, 4, 1), -1, "value must lie in [0, 4], got -1"),
        ((0, 4, 1), 5, "value must lie in [0, 4], got 5"),
        ((0.0, 4.0, 1.0), float("nan"), "value must lie in [0.0, 4.0], got nan"),
    ],
)
def test_slider_refuses(arguments, value, message, refuses):
    with refuses(ValueError, message):
        slider("s", *arguments, value=value)


@pytest.mark.parametrize(
    ("low", "high", "options", "expected"),
    [
        (1.0, 100.0, {"value": 10.0, "divisions": 2}, [1.0, 3.16, 10.0, 31.6, 100.0]),
        (1, 100, {"value": 10, "divisions": 2}, [1, 3, 10, 32, 100]),
        (1, 50, {"value": 7, "divisions": 1}, [1, 7, 10, 50]),  # value and high come on top of the grid
        (1, 1000, {"value": 1, "divisions": 1}, [1, 10, 100, 1000]),
        (1, 1000, {"value": 1000, "divisions": 1}, [1, 10, 100, 1000]),
        (512, 4096, {"value": 512, "base": 2, "divisions": 1}, [512, 1024, 2048, 4096]),  # powers of two stay whole
        (3, 50, {"value": 3, "base": 2, "divisions": 1}, [3, 6, 12, 24, 48, 50]),
        (0.001, 0.01, {"value": 0.01, "divisions": 3}, [0.001, 0.00215, 0.00464, 0.01]),
        (1, 3, {"value": 1, "base": 10, "divisions": 10}, [1, 2, 3]),  # positions that round together appear once
        (1, 10.0, {"value": 1, "divisions": 2}, [1, 3.16, 10.0]),
    ],
)
def test_log_slider_positions(low, high, options, expected):
    control = log_slider("s", low, high, **options)
    assert [number for _, number in control.options] == expected
    assert [label for label, _ in control.options] == [f"{number:.6g}" for number in expected]
    assert control.value == options["value"]


def test_log_slider_default_grid_is_ten_positions_a_decade():
    numbers = [number for _, number in log_slider("s", 1.0, 10.0, value=1.0).options]
    assert numbers == [1.0, 1.26, 1.58, 2.0, 2.51, 3.16, 3.98, 5.01, 6.31, 7.94, 10.0]


def test_log_slider_hands_whole_numbers_on():
    assert {type(number) for _, number in log_slider("s", 1, 100, value=10).options} == {int}


@pytest.mark.parametrize(
    ("low", "high", "options", "message"),
    [
        (0, 8, {"value": 2}, "low and high must satisfy 0 < low < high, got low=0, high=8"),
        (8, 8, {"value": 8}, "low and high must satisfy 0 < low < high, got low=8, high=8"),
        (-1, 8, {"value": 2}, "low and high must satisfy 0 < low < high, got low=-1, high=8"),
        (1, 8, {"value": 0.5}, "value must lie in [1, 8], got 0.5"),
        (1, 8, {"value": 9}, "value must lie in [1, 8], got 9"),
        (1, 8, {"value": 2, "base": 1}, "base must exceed 1 and divisions be at least 1, got base=1, divisions=10"),
        (1, 8, {"value": 2, "divisions": 0},
         "base must exceed 1 and divisions be at least 1, got base=10.0, divisions=0"),
    ],
)  # fmt: skip
def test_log_slider_refuses(low, high, options, message, refuses):
    with refuses(ValueError, message):
        log_slider("s", low, high, **options)


def test_choice_of_up_to_four_is_buttons():
    control = choice("data", ["a", "b", "c", "d"])
    assert type(control) is widgets.ToggleButtons
    assert control.options == ("a", "b", "c", "d")
    assert control.value == "a"
    assert control.style.button_width == "auto"
    assert choice("data", ["a", "b"], value="b").value == "b"


def test_the_description_stands_beside_the_buttons():
    """Alone among the controls, ipywidgets' buttons lack the class that puts the description on their left."""
    assert "widget-inline-hbox" in choice("data", ["a", "b"])._dom_classes


def test_choice_beyond_four_is_a_list():
    control = choice("data", ["a", "b", "c", "d", "e"], value="e")
    assert type(control) is widgets.Dropdown
    assert (control.options, control.value) == (("a", "b", "c", "d", "e"), "e")


def test_choice_from_a_mapping_shows_keys_and_hands_over_values():
    control = choice("norm", {"before": 1, "after": 2})
    assert control.options == (("before", 1), ("after", 2))
    assert (control.value, control.label) == (1, "before")
    assert choice("norm", {"before": 1, "after": 2}, value=2).label == "after"


@pytest.mark.parametrize(
    ("options", "value", "message"),
    [
        (["a"], None, "options must hold at least two entries, got ['a']"),
        ({"a": 1}, None, "options must hold at least two entries, got {'a': 1}"),
        (["a", "b"], "c", "value must be one of ['a', 'b'], got 'c'"),
        ({"a": 1, "b": 2}, "a", "value must be one of [1, 2], got 'a'"),
    ],
)
def test_choice_refuses(options, value, message, refuses):
    with refuses(ValueError, message):
        choice("data", options, value=value)


def test_toggle_and_text():
    assert (toggle("s").value, toggle("s", value=True).value) == (False, True)
    assert toggle("s").indent  # its box stands where the sliders begin
    assert text("s", value="a b").value == "a b"
    assert text("s", value="a b").continuous_update is False


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        (slider("s", 1, 5, 2, value=1), [1, 3, 5]),
        (slider("s", 0.0, 1.0, 0.25, value=0.0), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (slider("s", -2.0, 1.0, 1.5, value=0.0), [-2.0, -0.5, 1.0]),
        (log_slider("s", 1, 8, value=2, base=2, divisions=1), [1, 2, 4, 8]),
        (choice("s", ["a", "b"]), ["a", "b"]),
        (choice("s", {"a": 1, "b": 2}), [1, 2]),
        (toggle("s", value=True), [False, True]),
        (text("s", value="a"), ["a"]),
    ],
)
def test_positions_of_every_kind(control, expected):
    assert positions(control) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((0, 7, 3), [0, 3, 6, 7]), ((0.0, 2.4, 1.0), [0.0, 1.0, 2.0, 2.4]), ((0, 1, 5), [0, 1])],
)
def test_positions_where_the_step_does_not_divide_the_range(arguments, expected):
    assert positions(slider("s", *arguments, value=arguments[0])) == expected


def test_positions_beyond_the_limit_are_spread_and_keep_both_ends():
    control = slider("s", 0, 100, 1, value=0)
    assert positions(control, limit=101) == list(range(101))
    assert positions(control, limit=2) == [0, 100]
    assert positions(control, limit=3) == [0, 50, 100]
    assert positions(control, limit=5) == [0, 25, 50, 75, 100]
    assert len(positions(control)) == 24
    assert positions(slider("s", 0, 23, 1, value=0)) == list(range(24))
    assert positions(slider("s", 0, 24, 1, value=0)) == [k for k in range(25) if k != 12]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("slider", 0), ("slider", 4), ("float slider", 0.0), ("float slider", 1.0), ("float slider", 1),
        ("float slider", 0.3), ("log slider", 8), ("buttons", "b"), ("list", "e"), ("toggle", True), ("text", "x y"),
    ],
)  # fmt: skip
def test_values_a_control_takes(kind, value):
    assert validate("s", CONTROLS[kind](), value) is None


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("slider", -1, "n must lie in [0, 4]; got -1"),
        ("slider", 5, "n must lie in [0, 4]; got 5"),
        ("slider", 1.0, "n must be a whole number; got 1.0"),
        ("slider", True, "n must be a whole number; got True"),
        ("slider", "2", "n must be a whole number; got '2'"),
        ("float slider", -0.001, "n must lie in [0.0, 1.0]; got -0.001"),
        ("float slider", 1.001, "n must lie in [0.0, 1.0]; got 1.001"),
        ("float slider", float("nan"), "n must lie in [0.0, 1.0]; got nan"),
        ("float slider", False, "n must be a number; got False"),
        ("float slider", None, "n must be a number; got None"),
        ("log slider", 3, "n must be one of 1, 2, 4, 8; got 3"),
        ("buttons", "c", "n must be one of 'a', 'b'; got 'c'"),
        ("list", 1, "n must be one of 'a', 'b', 'c', 'd', 'e'; got 1"),
        ("toggle", 1, "n must be a bool; got 1"),
        ("text", 1, "n must be a str; got 1"),
    ],
)
def test_values_a_control_refuses(kind, value, message, refuses):
    with refuses(ValueError, message):
        validate("n", CONTROLS[kind](), value)


@pytest.mark.parametrize(("count", "tail"), [(8, "7; got 'x'"), (9, "7, …; got 'x'")])
def test_a_long_list_of_options_is_cut_after_eight(count, tail, refuses):
    with refuses(ValueError, f"n must be one of 0, 1, 2, 3, 4, 5, 6, {tail}"):
        validate("n", choice("s", {str(k): k for k in range(count)}), "x")


def test_every_option_of_a_long_list_is_allowed():
    control = choice("s", {str(k): k for k in range(70)})
    for value in range(70):
        assert validate("n", control, value) is None


# the bar of long work


def bar(job):
    return ElementTree.fromstring(job.bar.value).attrib


def test_every_step_comes_in_order_and_then_the_bar_is_moved():
    job, seen = Job("Go"), []
    for step in job.progress("abc", "letters"):
        seen.append((step, bar(job)["value"], job.bar.layout.visibility))
    assert seen == [("a", "0", "visible"), ("b", "33", "visible"), ("c", "66", "visible")]
    assert (bar(job)["value"], bar(job)["max"]) == ("100", "100")
    job.hide()
    assert job.bar.layout.visibility == "hidden"


def test_nothing_is_shown_or_consumed_before_the_loop():
    job, steps = Job("Go"), iter("abc")
    job.progress(steps, "letters")
    assert job.bar.layout.visibility == "hidden"
    assert next(steps) == "a"


@pytest.mark.parametrize(
    ("total", "values"), [(None, [None, None]), (8, ["0", "12"]), (2, ["0", "50"]), (0, [None] * 2)]
)
def test_a_generator_needs_its_total_or_the_bar_only_swings(total, values):
    job = Job("Go")
    steps = job.progress((letter for letter in "abcdefgh"), "letters", total=total)
    assert [(next(steps), bar(job).get("value"))[1] for _ in range(2)] == values


def test_a_total_goes_before_the_length():
    job = Job("Go")
    list(job.progress("ab", "letters", total=10))
    assert bar(job)["value"] == "20"


def test_many_steps_are_at_most_a_hundred_and_one_messages():
    job, sent = Job("Go"), []
    job.bar.observe(lambda change: sent.append(change.new), names="value")
    list(job.progress(repeat(0, 5000), "many steps"))
    assert len(sent) == 101


def test_an_error_in_the_loop_goes_through():
    steps = Job("Go").progress((1 / step for step in (1, 0)), "two steps", total=2)
    with pytest.raises(ZeroDivisionError):
        list(steps)
