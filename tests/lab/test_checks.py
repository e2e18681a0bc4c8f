"""`check`: agreement, disagreement, and checks that could not fail."""

import numpy as np
import pytest

from helpers.lab import check


class Tensor:
    """Stands in for a tensor that must be detached before it becomes an array."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        return np.asarray(self.values)

    def __array__(self, *_, **__):
        raise RuntimeError("call detach first")


def printed(capsys, *arguments, **options):
    assert check(*arguments, **options) is None
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_line_for_a_relative_tolerance(capsys):
    assert printed(capsys, 0.1 + 0.2, 0.3, "(1) sum") == "(1) sum: agree to 1e-09\n"
    assert printed(capsys, 1.001, 1.0, "(2) rough", rtol=0.01) == "(2) rough: agree to 0.01\n"


def test_line_for_an_absolute_tolerance(capsys):
    assert printed(capsys, 1e-13, 0.0, "(1) zero", rtol=0, atol=1e-12) == "(1) zero: agree to 1e-12 (absolute)\n"


def test_line_does_not_depend_on_the_measured_error(capsys):
    lines = {printed(capsys, 1 + error, 1.0, "(1) one") for error in (0.0, 1e-15, -3e-12, 9e-10)}
    assert lines == {"(1) one: agree to 1e-09\n"}


def test_line_states_both_tolerances_where_both_are_used(capsys):
    """An absolute tolerance of 0.25 must not read "agree to 1e-09"."""
    line = printed(capsys, 1.0, 1.2, "(1) loose", rtol=1e-9, atol=0.25)
    assert line == "(1) loose: agree to 1e-09 + 0.25 (absolute)\n"
    assert printed(capsys, 1.0, 1.2, "(1) loose", atol=0.25) == line


@pytest.mark.parametrize(
    ("left", "right", "options"),
    [
        (1.5, 1.0, {"rtol": 0.5}),  # an error equal to the tolerance still agrees
        (0.5, 1.0, {"rtol": 0.5}),
        (3.0, 2.0, {"rtol": 0.25, "atol": 0.5}),  # the two tolerances add up
        ([-4.0, 1.9], [-4.0, 1.0], {"rtol": 0.25}),  # relative to the largest entry in size, here the -4
        ([1e-12, 1.0], [0.0, 1.0], {}),  # so that a zero entry is not held to a relative precision
        (1 + 5e-10, 1.0, {}),
        (2 + 0.01j, 2.0, {"rtol": 0.01}),
        (np.ones((2, 3)), [[1, 1, 1], [1, 1, 1]], {}),
        (np.float32(0.1), 0.1, {"rtol": 1e-7}),
        (np.array([np.inf, 1.0])[1:], [1.0], {}),
    ],
)
def test_agreement(left, right, options, capsys):
    assert printed(capsys, left, right, "(1)", **options).startswith("(1): agree to ")


@pytest.mark.parametrize(
    ("left", "right", "options", "message"),
    [
        (1.5, 1.0, {"rtol": 0.25}, "differ by 0.5, allowed 0.25\n  left  np.float64(1.5)\n  right np.float64(1.0)"),
        (0.5, 1.0, {"rtol": 0.25}, "differ by 0.5, allowed 0.25\n  left  np.float64(0.5)\n  right np.float64(1.0)"),
        (
            [0.0, 2.0],
            [0.0, 1.0],
            {"rtol": 0.6},  # of the right side's 1, not of the left side's 2
            "differ by 1 at index (1,), allowed 0.6\n  left  np.float64(2.0)\n  right np.float64(1.0)",
        ),
        (
            [[1.0, 2.0], [13.0, 4.5]],
            [[1.0, 2.0], [3.0, 4.0]],
            {"rtol": 1e-3},
            "differ by 10 at index (1, 0), allowed 0.004\n  left  np.float64(13.0)\n  right np.float64(3.0)",
        ),
        (3.5, 2.0, {"rtol": 0.25, "atol": 0.5}, "differ by 1.5, allowed 1\n  left  np.float64(3.5)\n"
         "  right np.float64(2.0)"),
        (1 + 2e-9, 1.0, {}, "differ by 2e-09, allowed 1e-09\n  left  np.float64(1.000000002)\n  right np.float64(1.0)"),
        (1e-300, 0.0, {}, "differ by 1e-300, allowed 0\n  left  np.float64(1e-300)\n  right np.float64(0.0)"),
        ([7, 5], [7, 8], {}, "differ by 3 at index (1,), allowed 8e-09\n  left  np.int64(5)\n  right np.int64(8)"),
    ],
)  # fmt: skip
def test_disagreement_names_the_worst_place_and_both_values(left, right, options, message, refuses):
    with refuses(AssertionError, f"(1) x: the two sides {message}"):
        check(left, right, "(1) x", **options)


@pytest.mark.parametrize(("left", "right"), [(np.nan, 1.0), (1.0, np.nan), (np.nan, float("nan"))])
def test_nan_on_either_side_differs(left, right):
    with pytest.raises(AssertionError, match="differ by nan"):
        check(left, right, "(1)", rtol=10)


def test_a_nan_is_the_worst_place(refuses):
    message = "(1): the two sides differ by nan at index (1,), allowed 3\n  left  np.float64(nan)\n"
    with refuses(AssertionError, f"{message}  right np.float64(2.0)"):
        check([1.0, np.nan, 9.0], [1.0, 2.0, 3.0], "(1)", rtol=1)


@pytest.mark.parametrize(
    ("left", "right"),
    [(1.0, np.inf), (np.inf, 1.0), (np.inf, -np.inf), ([5.0, 1.0], [np.inf, 1.0]), ([5.0, np.inf], [1.0, np.inf])],
)
def test_a_number_never_agrees_with_infinity(left, right):
    with pytest.raises(AssertionError, match="differ"):
        check(left, right, "(1)")


def test_small_integer_types_do_not_wrap_around():
    with pytest.raises(AssertionError, match="differ by 255"):
        check(np.uint8(0), np.uint8(255), "(1)", rtol=0.01)


@pytest.mark.parametrize(
    ("left", "right", "shapes"),
    [
        (np.ones(3), np.ones(4), "left  (3,)\n  right (4,)"),
        (1.0, [1.0], "left  ()\n  right (1,)"),
        (np.ones((2, 1)), np.ones((1, 2)), "left  (2, 1)\n  right (1, 2)"),
    ],
)
def test_shapes_are_never_broadcast(left, right, shapes, refuses):
    with refuses(AssertionError, f"(1): shapes differ\n  {shapes}"):
        check(left, right, "(1)")


def test_tensors_are_detached(capsys, refuses):
    tensor = Tensor([1.0, 2.0])
    assert printed(capsys, tensor, [1.0, 2.0], "(1)") == "(1): agree to 1e-09\n"
    assert printed(capsys, [1.0, 2.0], tensor, "(1)") == "(1): agree to 1e-09\n"
    message = "differ by 1 at index (1,), allowed 3e-09\n  left  np.float64(2.0)\n  right np.float64(3.0)"
    with refuses(AssertionError, f"(1): the two sides {message}"):
        check(tensor, [1.0, 3.0], "(1)")


def test_one_object_twice_cannot_fail_and_is_refused(refuses):
    side = np.ones(3)
    for same in (side, [1.0, 2.0], Tensor([1.0])):
        with refuses(ValueError, "(1) x: lhs and rhs are the same object, so this check cannot fail"):
            check(same, same, "(1) x")


def test_equal_small_integers_are_not_the_same_object(capsys):
    """Python keeps one object for each small integer: a count compared with a literal is an honest check."""
    assert printed(capsys, len("abc"), 3, "(1) letters") == "(1) letters: agree to 1e-09\n"


def test_empty_sides_cannot_fail_and_are_refused(refuses):
    with refuses(ValueError, "(1) x: both sides are empty, so this check cannot fail"):
        check([], np.array([]), "(1) x")


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"rtol": -1e-9}, "rtol=-1e-09, atol=0.0"),
        ({"atol": -1.0}, "rtol=1e-09, atol=-1.0"),
        ({"rtol": 0}, "rtol=0, atol=0.0"),
        ({"rtol": -1, "atol": 2}, "rtol=-1, atol=2"),
        ({"rtol": -1, "atol": -1}, "rtol=-1, atol=-1"),
    ],
)
def test_tolerances_are_not_negative_and_not_both_zero(options, got, refuses):
    with refuses(ValueError, f"rtol and atol must be at least 0 and not both 0, got {got}"):
        check(1.0, 1.5, "(1)", **options)


def test_a_failed_check_prints_nothing(capsys):
    with pytest.raises(AssertionError):
        check(1.0, 2.0, "(1)")
    assert capsys.readouterr() == ("", "")
