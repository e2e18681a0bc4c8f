"""The exercise of notebook 00: right by a closed search, wrong by one in both directions."""

import math

import pytest

from helpers.exercises.start_here import enough
from helpers.lab import WrongAnswer, exercise


def smallest(x, tolerance):
    n = 1
    while math.exp(x) - (1 + x / n) ** n > tolerance:
        n += 1
    return n


def test_the_search_is_right(capsys):
    exercise(enough)(smallest)
    assert capsys.readouterr().out.endswith("right on 20 random inputs\n")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda x, tolerance: smallest(x, tolerance) + 1, "n - 1 is above"),
        (lambda x, tolerance: max(1, smallest(x, tolerance) - 1), "at most the tolerance"),
        (lambda x, tolerance: smallest(x, tolerance) + 0.5, "whole number"),
        (lambda x, tolerance: 0, "at least 1"),
    ],
)
def test_wrong_answers_are_refused(answer, reason):
    with pytest.raises(WrongAnswer, match=reason):
        exercise(enough)(answer)
