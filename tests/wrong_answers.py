"""What every file of tests/exercises wants of its list of wrong answers: (exercise, mistake, answer, reason) each."""

from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType

import pytest

from helpers.lab import Exercise, WrongAnswer, exercise


def refused(module: ModuleType, wrong: Sequence[tuple[Exercise, str, Callable, str]]) -> tuple[Callable, Callable]:
    """Two tests: each answer is refused for its reason, and each exercise of the module has at least two."""

    @pytest.mark.parametrize(
        ("spec", "answer", "reason"),
        [(spec, answer, reason) for spec, _, answer, reason in wrong],
        ids=[mistake for _, mistake, _, _ in wrong],
    )
    def for_its_reason(spec: Exercise, answer: Callable, reason: str) -> None:
        with pytest.raises(WrongAnswer, match=reason):
            exercise(spec)(answer)

    def twice_each() -> None:
        counted = Counter(spec.title for spec, *_ in wrong)
        titles = [spec.title for spec in vars(module).values() if isinstance(spec, Exercise)]
        assert len(titles) == len(set(titles)) > 0
        assert {title: counted[title] for title in titles if counted[title] < 2} == {}

    return for_its_reason, twice_each
