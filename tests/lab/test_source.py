"""`show_source`: the code that runs, without its docstrings."""

import math

import pytest

from helpers.lab import show_source


def plain(x):
    return x + 1  # a comment stays


def one_line(x):
    """Add one."""
    return x + 1


def many_lines(x):
    """Add one.

    Returns
    -------
    The number after x.
    """
    label = """a string
    that is no docstring"""
    return x + 1, label


class Adder:
    """Adds."""

    step = 1

    def add(self, x):
        """Add the step,

        once."""

        def inner(y):
            "Add it."
            return y + self.step

        return inner(x)

    def bare(self): ...


def code(shown):
    (markdown,) = shown
    return markdown.data


def test_source_without_docstring(shown):
    assert show_source(plain) is None
    assert code(shown) == "```python\ndef plain(x):\n    return x + 1  # a comment stays\n```"


def test_one_line_docstring(shown):
    show_source(one_line)
    assert code(shown) == "```python\ndef one_line(x):\n    return x + 1\n```"


def test_docstring_of_many_lines_goes_and_other_strings_stay(shown):
    show_source(many_lines)
    assert code(shown) == (
        '```python\ndef many_lines(x):\n    label = """a string\n    that is no docstring"""\n'
        "    return x + 1, label\n```"
    )


def test_every_docstring_of_a_class_goes(shown):
    show_source(Adder)
    assert code(shown) == (
        "```python\nclass Adder:\n\n    step = 1\n\n    def add(self, x):\n\n        def inner(y):\n"
        "            return y + self.step\n\n        return inner(x)\n\n    def bare(self): ...\n```"
    )


def test_a_method_is_shown_from_the_margin(shown):
    show_source(Adder.bare)
    assert code(shown) == "```python\ndef bare(self): ...\n```"


@pytest.mark.parametrize("thing", [math.sin, len, int, 3])
def test_no_python_source(thing, shown):
    with pytest.raises(TypeError, match=r"expected|built-in"):
        show_source(thing)
    assert shown == []


def test_a_function_whose_source_is_lost(shown):
    made = {}
    exec("def lost(x):\n    return x", made)
    with pytest.raises(TypeError, match="function lost"):
        show_source(made["lost"])
