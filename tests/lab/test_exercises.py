"""Exercises: an untouched stub passes in silence, a wrong answer is named, a right one is praised."""

import sys

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from helpers.lab import Exercise, WrongAnswer, exercise, grade

TITLE = "Exercise 1: centre x"
SENTENCE = "the mean is zero"


def spec(**changes):
    given = {
        "title": TITLE,
        "draw": lambda rng: {"x": rng.normal(size=4)},
        "properties": {
            SENTENCE: lambda answer, x: np.isclose(np.mean(answer), 0),
            "the differences are those of x": lambda answer, x: np.allclose(np.diff(answer), np.diff(x)),
        },
    }
    return Exercise(**(given | changes))


def first(seed=0):
    """First input of every exercise, drawn as the specification above draws it."""
    return np.random.default_rng(seed).normal(size=4)


def rejected(function, **changes):
    return str(refusal(function, **changes))


def refusal(function, **changes):
    with pytest.raises(WrongAnswer) as caught:
        exercise(spec(**changes))(function)
    return caught.value


@pytest.mark.parametrize(
    ("changes", "got"),
    [({"properties": {}}, "0 and 20"), ({"n_inputs": 0}, "2 and 0"), ({"n_inputs": -1}, "2 and -1")],
)
def test_an_exercise_that_accepts_every_answer_is_refused(changes, got, refuses):
    with refuses(ValueError, f"properties and n_inputs must be at least one each, got {got}"):
        spec(**changes)


def test_right_answer(capsys):
    def centre(x):
        return x - x.mean()

    assert exercise(spec())(centre) is centre
    assert capsys.readouterr() == (f"{TITLE}: right on 20 random inputs\n", "")


def test_every_input_is_tried_once_and_no_two_are_equal(capsys):
    seen = []

    def centre(x):
        seen.append(tuple(x))
        return x - x.mean()

    exercise(spec())(centre)
    assert len(seen) == len(set(seen)) == 20
    assert seen[0] == tuple(first())
    seen.clear()
    exercise(spec(n_inputs=1))(centre)
    assert len(seen) == 1
    assert capsys.readouterr().out.endswith("right on 1 random inputs\n")


def stub_ellipsis(x): ...  # fmt: skip


def stub_pass(x):
    pass


def stub_docstring(x):
    """Centre x."""


def stub_docstring_and_ellipsis(x):
    """Centre x.

    Keep the differences.
    """
    ...
    pass


@pytest.mark.parametrize("stub", [stub_ellipsis, stub_pass, stub_docstring, stub_docstring_and_ellipsis])
def test_untouched_stub(stub, capsys):
    assert exercise(spec(properties={"never": lambda *_, **__: pytest.fail("tried")}))(stub) is stub
    assert capsys.readouterr() == (f"{TITLE}: not attempted\n", "")


def test_untouched_stub_below_the_decorator(capsys):
    @exercise(spec())
    def centre(x):
        """Centre x."""
        ...

    assert centre.__name__ == "centre"
    assert capsys.readouterr().out == f"{TITLE}: not attempted\n"


@pytest.mark.parametrize("position", ["before", "after"])
def test_a_started_answer_counts_as_attempted(position):
    def before(x):
        x = x + 1
        ...

    def after(x):
        ...
        x = x + 1

    function = {"before": before, "after": after}[position]
    assert rejected(function).startswith(f"{TITLE}: your function returned None; did you forget return?\n")


def test_wrong_answer_names_the_property_the_input_and_the_answer():
    def identity(x):
        return 1 * x

    x = first()
    with np.printoptions(precision=6, threshold=20):
        answer = repr(x)
    message = rejected(identity)
    assert message.startswith(f"{TITLE}: violated: {SENTENCE}\n  on x=array([")
    assert message.endswith(f"])\n  your answer {answer}")
    assert len(message.splitlines()) == 3


def test_properties_are_tried_in_order_until_one_fails():
    def zeros(x):
        return 0 * x

    assert "violated: the differences are those of x\n" in rejected(zeros)


def test_wrong_on_one_input_only():
    def centre(x):
        return x - x.mean() if x[0] < 1.3 else x

    draws = np.random.default_rng(0).normal(size=(20, 4))
    large = draws[draws[:, 0] >= 1.3]
    assert 0 < len(large) < 20, "the test needs an input that the wrong branch meets, and one that it does not"
    assert f"x=array([ {large[0][0]:.4f}" in rejected(centre)


def test_several_arguments_are_shown_by_name():
    def total(a, word):
        return a + len(word)

    never = {"is the sum": lambda answer, a, word: False}
    message = rejected(total, draw=lambda rng: {"a": 1, "word": "b"}, properties=never)
    assert message == f"{TITLE}: violated: is the sum\n  on a=1, word='b'\n  your answer 2"


def test_a_raising_answer():
    def broken(x):
        return {}["mean"]

    error = refusal(broken, draw=lambda rng: {"x": 3})
    assert str(error) == f"{TITLE}: your function raised KeyError('mean')\n  on x=3"
    assert isinstance(error.__cause__, KeyError)


def test_a_forgotten_return():
    def forgotten(x):
        x.mean()

    message = rejected(forgotten, draw=lambda rng: {"x": np.array(3)})
    assert message == f"{TITLE}: your function returned None; did you forget return?\n  on x=array(3)"


def test_a_returned_ellipsis():
    def half(x):
        return ...

    message = rejected(half, draw=lambda rng: {"x": 3})
    assert message == f"{TITLE}: your function returned Ellipsis; did you forget return?\n  on x=3"


def test_an_answer_of_the_wrong_form():
    def word(x):
        return "zero"

    error = refusal(word, draw=lambda rng: {"x": 3}, properties={"adds": lambda answer, x: answer + x == 3})
    assert str(error) == (
        f'{TITLE}: the result has the wrong form (can only concatenate str (not "int") to str)\n'
        "  on x=3\n  your answer 'zero'"
    )
    assert isinstance(error.__cause__, TypeError)


def test_an_array_of_truth_values_is_no_verdict():
    def identity(x):
        return 1 * x

    assert "the result has the wrong form (The truth value" in rejected(
        identity, properties={"equal": lambda answer, x: answer == x}
    )


def test_numbers_are_shown_to_six_digits():
    def third(x):
        return np.array([1 / 3])

    message = rejected(third, draw=lambda rng: {"x": np.array([2 / 3])})
    on, answer = message.splitlines()[1:]
    assert answer == "  your answer array([0.333333])"
    assert on == "  on x=array([0.666667])"


@pytest.mark.parametrize(("size", "cut"), [(20, False), (21, True)])
def test_long_arrays_are_cut(size, cut):
    def constant(x):
        return np.arange(size) + 1.0

    on, answer = rejected(constant, draw=lambda rng: {"x": np.arange(size) + 0.0}).split("\n  your answer ")
    assert ("..." in answer) is cut
    assert ("..." in on) is cut


def test_print_options_of_the_reader_survive():
    def identity(x):
        return 1 * x

    before = np.get_printoptions()
    rejected(identity)
    assert np.get_printoptions() == before


def test_an_answer_that_overwrites_its_input_is_judged_on_the_original():
    def wipe(x):
        x *= 0
        return x

    message = rejected(wipe, properties={"is twice x": lambda answer, x: np.allclose(answer, 2 * x)})
    assert "violated: is twice x" in message


def test_the_right_answer_is_never_shown():
    """Neither the sentence of any wrong answer nor the decorated function holds 4 x = 2468."""

    def stays(x):
        return x

    def missing(x):
        x + 1

    def raises(x):
        raise RuntimeError

    def word(x):
        return [x]

    changes = {"draw": lambda rng: {"x": 617}, "properties": {"is four times x": lambda answer, x: answer + 0 == 4 * x}}
    for wrong in (stays, missing, raises, word):
        assert "2468" not in rejected(wrong, **changes)
        assert "617" in rejected(wrong, **changes)


def test_a_lambda_has_no_body_to_look_at_and_is_judged(capsys):
    double = spec(draw=lambda rng: {"x": rng.normal()}, properties={"is twice x": lambda answer, x: answer == 2 * x})
    exercise(double)(lambda x: 2 * x)
    assert capsys.readouterr().out == f"{TITLE}: right on 20 random inputs\n"
    with pytest.raises(WrongAnswer, match="violated: is twice x"):
        exercise(double)(lambda x: 3 * x)


def test_ipython_shows_the_message_alone(capsys):
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell(config=config)
    try:
        try:
            raise WrongAnswer("Exercise 1: violated: it is even\n  on x=3")
        except WrongAnswer:
            shell.showtraceback(sys.exc_info())
    finally:
        shell.restore_sys_module_state()
    assert capsys.readouterr() == ("Exercise 1: violated: it is even\n  on x=3\n", "")


def test_a_grade_is_silent_and_refuses_what_was_not_attempted(capsys):
    def untouched(x): ...

    def right(x):
        return 4 * x

    quadruple = spec(properties={"is four times x": lambda answer, x: np.allclose(answer, 4 * x)})
    grade(quadruple, right)
    with pytest.raises(WrongAnswer, match="violated: is four times x"):
        grade(quadruple, lambda x: 2 * x)
    with pytest.raises(WrongAnswer, match=f"{TITLE}: not attempted"):
        grade(quadruple, untouched)
    assert capsys.readouterr().out == ""


def test_a_grade_uses_inputs_that_were_never_shown():
    shown = []
    drawn = spec(draw=lambda rng: {"x": int(rng.integers(10**9))}, properties={"is x": lambda answer, x: answer == x})
    exercise(drawn)(lambda x: shown.append(x) or x)
    with pytest.raises(WrongAnswer, match="violated: is x"):
        grade(drawn, lambda x: x if x in shown else -1)
    grade(drawn, lambda x: x if x in shown else -1, seed=0)
