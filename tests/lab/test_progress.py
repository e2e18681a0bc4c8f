"""`progress`: every step once, and one stable sentence."""

import pytest

from helpers.lab import progress
from helpers.lab.progress import one_bar


def test_steps_come_in_order_and_the_sentence_is_stable(capsys):
    assert list(progress([3, 1, 2], "three steps")) == [3, 1, 2]
    assert capsys.readouterr() == ("three steps\n", "")


def test_nothing_is_consumed_before_the_loop(shown):
    steps = iter(range(3))
    bar = progress(steps, "three steps", total=3)
    assert len(shown) == 1  # the bar is on the page before the first step
    assert list(bar) == [0, 1, 2]
    assert len(shown) == 1


def test_one_output_holds_the_live_bar_and_the_sentence(shown):
    list(progress(range(3), "three steps"))
    (bar,) = shown
    assert repr(bar) == "three steps"
    data = bar._repr_mimebundle_(include=None, exclude=None)
    assert data["text/plain"] == "three steps"
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == bar.container.model_id


@pytest.mark.parametrize(("iterable", "total"), [(range(4), None), (iter(range(4)), 4)])
def test_the_bar_knows_its_end_and_reaches_it(iterable, total, shown):
    list(progress(iterable, "four steps", total=total))
    label, bar, _ = shown[0].container.children
    assert label.value.replace("\u2007", " ").startswith("four steps")
    assert (bar.max, bar.value, bar.bar_style) == (4, 4, "success")


def test_an_error_in_the_loop_is_not_swallowed(capsys):
    steps = progress((1 / step for step in (1, 0)), "two steps", total=2)
    with pytest.raises(ZeroDivisionError):
        list(steps)
    assert capsys.readouterr() == ("two steps\n", "")


def test_one_bar_counts_the_steps_of_all_loops():
    seen = []

    def bar(steps, description, **_):
        for step in steps:
            seen.append((step, description))
            yield step

    with one_bar(bar, 5, "two loops") as counted:
        assert list(counted("ab")) == ["a", "b"]
        assert [step for step, _ in seen] == [0, 1]
        assert list(counted(range(3))) == [0, 1, 2]
    assert seen == [(k, "two loops") for k in range(5)]
