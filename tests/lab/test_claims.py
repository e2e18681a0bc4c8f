"""Claims: the verdict follows from the numbers, and the table shows both."""

import dataclasses

import pytest

from helpers.lab import Claim, claims


def claim(measured, criterion="< 1", statement="C1 small", test="the number"):
    return Claim(statement, test, measured, criterion)


HEADER = "| claim | test | measured | reproduced if | verdict |\n|---|---|---|---|---|\n"
YES, NO, PART, NONE = claim(0.5), claim(2.0), claim({"a": 0.5, "b": 2.0}), claim(None)


@pytest.mark.parametrize(
    ("criterion", "below", "equal", "above"),
    [
        ("< 0.5", True, False, False),
        ("<= 0.5", True, True, False),
        ("> 0.5", False, False, True),
        (">= 0.5", False, True, True),
        ("<0.5", True, False, False),
        (">=   5e-1", False, True, True),
        ("< -0.5", False, False, False),
        ("> -5E-1", True, True, True),
        (">= +0.5", False, True, True),
    ],
)
def test_verdict_at_the_boundary(criterion, below, equal, above):
    expected = {0.25: below, 0.5: equal, 0.75: above}
    got = {value: claim(value, criterion).verdict for value in expected}
    assert got == {value: "reproduced" if held else "not reproduced" for value, held in expected.items()}


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        ({"a": 0.5, "b": 0.6}, "reproduced"),
        ({"a": 0.5, "b": 1.0}, "partly"),
        ({"a": 1.0, "b": 0.5}, "partly"),
        ({"a": 1.0, "b": 2.0}, "not reproduced"),
        (None, "not testable here"),
        (0, "reproduced"),
    ],
)
def test_verdict_over_several_numbers(measured, verdict):
    assert claim(measured).verdict == verdict


@pytest.mark.parametrize(
    ("measured", "criterion", "shown"),
    [
        (0.123456, "< 1", "0.123"),
        (1234567.0, "> 1", "1.23e+06"),
        ({"iris": 0.1, "wine": 0.30004}, "< 0.2", "iris 0.1, wine 0.3"),
        (None, "< 1", "–"),
        (3.2e-13, "< 1e-10", "below 1e-10"),
        (3.2e-13, "<= 1e-10", "below 1e-10"),
        (9.9e-7, "< 1e-6", "below 1e-06"),
        (9.9e-7, "< 1.1e-6", "9.9e-07"),  # this criterion is above rounding level
        (3.2e-13, "> 1e-10", "3.2e-13"),
        (3.2e-13, ">= 1e-10", "3.2e-13"),
        (1e-10, "<= 1e-10", "1e-10"),
        (2.5e-10, "< 1e-10", "2.5e-10"),
        ({"a": 1e-12, "b": 2.5e-10}, "< 1e-10", "a below 1e-10, b 2.5e-10"),
        (-0.7, "< -0.5", "-0.7"),  # a negative measurement is no rounding error
        (-0.7, "< 0", "-0.7"),
        (-0.7, "<= 1e-9", "-0.7"),
    ],
)
def test_shown_numbers(measured, criterion, shown):
    assert claim(measured, criterion).shown == shown


@pytest.mark.parametrize(
    "criterion", ["", "0.5", "<", "== 0.5", "=< 1", "< 0.5 ", " < 0.5", "< x", "below 1", "< 1.2.3", "< 1e", "< ."]
)
def test_criterion_must_be_a_comparison_with_a_number(criterion, refuses):
    message = f"criterion must be a comparison with a number such as '< 0.01', got {criterion!r}"
    with refuses(ValueError, message):
        claim(0.5, criterion)


@pytest.mark.parametrize("measured", [float("nan"), float("inf"), -float("inf"), {"a": 1.0, "b": float("nan")}])
def test_measured_must_be_finite(measured, refuses):
    with refuses(ValueError, f"measured must be finite, got {measured!r} for 'C1 small'"):
        claim(measured)


def test_a_mapping_must_hold_a_number(refuses):
    """An empty mapping would read "not testable here" although nobody said so."""
    with refuses(ValueError, "measured must hold at least one number, got none for 'C1 small'"):
        claim({})


def test_a_claim_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        YES.measured = 0.0


def test_table_row_by_row(capsys):
    rows = [
        Claim("C1 fits", "error rate", {"iris": 0.1, "wine": 0.3}, "< 0.2"),
        Claim("C2 exact", "largest difference", 3e-13, "< 1e-10"),
        Claim("C3 big", "needs a cluster", None, "> 3"),
        Claim("C4 fast", "seconds", 7.0, "<= 5"),
    ]
    assert claims(rows) is None
    assert capsys.readouterr().out == (
        HEADER + "| C1 fits | error rate | iris 0.1, wine 0.3 | < 0.2 | **partly** |\n"
        "| C2 exact | largest difference | below 1e-10 | < 1e-10 | **reproduced** |\n"
        "| C3 big | needs a cluster | – | > 3 | **not testable here** |\n"
        "| C4 fast | seconds | 7 | <= 5 | **not reproduced** |\n"
        "\n"
        "Verdict: **partly** (1 of 3 testable claims; 1 partly, 1 not, 1 not testable here).\n"
    )


def test_pipes_are_escaped_in_every_cell(capsys):
    claims([Claim("C1 |x|", "log|x|", {"|x|": 0.5}, "< 1")])
    assert "\n| C1 \\|x\\| | log\\|x\\| | \\|x\\| 0.5 | < 1 | **reproduced** |\n" in capsys.readouterr().out


def test_markdown_and_text_are_the_same_sentence(shown):
    claims([YES])
    (table,) = shown
    assert table._repr_markdown_() == repr(table)
    assert repr(table) == (
        HEADER + "| C1 small | the number | 0.5 | < 1 | **reproduced** |\n\n"
        "Verdict: **reproduced** (1 of 1 testable claims; 0 partly, 0 not, 0 not testable here)."
    )


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([YES], "**reproduced** (1 of 1 testable claims; 0 partly, 0 not, 0 not testable here)"),
        ([YES, YES, NONE], "**reproduced** (2 of 2 testable claims; 0 partly, 0 not, 1 not testable here)"),
        ([NO, NO], "**not reproduced** (0 of 2 testable claims; 0 partly, 2 not, 0 not testable here)"),
        ([NO, NONE], "**not reproduced** (0 of 1 testable claims; 0 partly, 1 not, 1 not testable here)"),
        ([YES, NO], "**partly** (1 of 2 testable claims; 0 partly, 1 not, 0 not testable here)"),
        ([PART], "**partly** (0 of 1 testable claims; 1 partly, 0 not, 0 not testable here)"),
        ([YES, PART], "**partly** (1 of 2 testable claims; 1 partly, 0 not, 0 not testable here)"),
        ([NO, PART], "**partly** (0 of 2 testable claims; 1 partly, 1 not, 0 not testable here)"),
        ([NONE, NONE], "**not testable here** (0 of 0 testable claims; 0 partly, 0 not, 2 not testable here)"),
    ],
)
def test_overall_verdict(rows, verdict, capsys):
    claims(rows)
    assert capsys.readouterr().out.splitlines()[-1] == f"Verdict: {verdict}."


def test_at_least_one_row(refuses):
    with refuses(ValueError, "rows must hold at least one claim, got none"):
        claims([])
