"""Exercises that check themselves by property, on random inputs, so that the answer cannot be read off."""

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


class WrongAnswer(AssertionError):
    """An attempted answer that violates a property; the message names the property and the input."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows the message alone: the reader's own frame says nothing more."""
        return [str(self)]


@dataclass(frozen=True)
class Exercise:
    """What a right answer must satisfy.

    Parameters
    ----------
    title : str
        ``"Exercise 2"`` and what is asked.
    draw : callable, Generator -> dict
        One random input of the asked function, by argument name.
    properties : mapping of str to callable
        Sentence -> predicate ``(answer, **input) -> bool``; the answer is what the reader's function returned.
    n_inputs : int
        Number of random inputs.

    Raises
    ------
    ValueError
        When there is no property or no input: such an exercise accepts every answer.
    """

    title: str
    draw: Callable[[np.random.Generator], dict[str, Any]]
    properties: Mapping[str, Callable[..., bool]]
    n_inputs: int = 20

    def __post_init__(self) -> None:
        if not self.properties or self.n_inputs < 1:
            raise ValueError(
                f"properties and n_inputs must be at least one each, got {len(self.properties)} and {self.n_inputs}"
            )


def exercise(spec: Exercise) -> Callable[[Callable], Callable]:
    """Decorate the reader's function: say "not attempted", "right", or what is wrong on which input.

    An untouched stub (a body of ``...``) never fails; a wrong answer raises `WrongAnswer`.

    Examples
    --------
    >>> spec = Exercise("Exercise 0: double it", lambda rng: {"x": rng.integers(1, 9)},
    ...                 {"is twice x": lambda answer, x: answer == 2 * x})
    >>> @exercise(spec)
    ... def double(x):
    ...     return x + x
    Exercise 0: double it: right on 20 random inputs
    """

    def decorate(function: Callable) -> Callable:
        if _untouched(function):
            print(f"{spec.title}: not attempted")
            return function
        _try_all(spec, function, seed=0)
        print(f"{spec.title}: right on {spec.n_inputs} random inputs")
        return function

    return decorate


def grade(spec: Exercise, function: Callable, seed: int = 1) -> None:
    """Judge an answer for marks: in silence, on other inputs than `exercise` shows, and an untouched stub is no answer.

    Raises
    ------
    WrongAnswer
        Unless the answer has every property on every input.

    Examples
    --------
    >>> spec = Exercise("Exercise 0: double it", lambda rng: {"x": rng.integers(1, 9)},
    ...                 {"is twice x": lambda answer, x: answer == 2 * x})
    >>> grade(spec, lambda x: x + x)
    """
    if _untouched(function):
        raise WrongAnswer(f"{spec.title}: not attempted")
    _try_all(spec, function, seed)


def _try_all(spec: Exercise, function: Callable, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(spec.n_inputs):
        _try(spec, function, spec.draw(rng))


def _try(spec: Exercise, function: Callable, given: dict[str, Any]) -> None:
    with np.printoptions(precision=6, threshold=20):
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        try:
            answer = function(**copy.deepcopy(given))  # judged on the input as it was, whatever the answer does to it
        except Exception as error:
            raise WrongAnswer(f"{spec.title}: your function raised {error!r}\n  on {shown}") from error
        if answer is None or answer is ...:
            raise WrongAnswer(f"{spec.title}: your function returned {answer}; did you forget return?\n  on {shown}")
        for sentence, holds in spec.properties.items():
            try:
                held = bool(holds(answer, **given))
            except Exception as error:
                raise WrongAnswer(
                    f"{spec.title}: the result has the wrong form ({error})\n  on {shown}\n  your answer {answer!r}"
                ) from error
            if not held:
                raise WrongAnswer(f"{spec.title}: violated: {sentence}\n  on {shown}\n  your answer {answer!r}")


def _untouched(function: Callable) -> bool:
    """Whether the body of a ``def`` holds nothing but a docstring, ``...`` or ``pass``."""
    if function.__name__ == "<lambda>":
        return False
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    return all(
        isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in definition.body
    )
