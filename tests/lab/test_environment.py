"""The self-test of the machine: each thing that may be wrong is said in words, with the remedy."""

import sys
from importlib import metadata

import pytest
from matplotlib import font_manager

from helpers.lab import self_test
from helpers.lab.environment import DISTRIBUTION, problems


@pytest.fixture
def requires(monkeypatch):
    """Let the distribution require just these lines."""
    return lambda *lines: monkeypatch.setattr(metadata, "requires", lambda name: {DISTRIBUTION: list(lines)}[name])


def test_this_machine_is_ready(capsys):
    assert problems() == []
    assert self_test() is None
    assert capsys.readouterr() == ("Everything is in place.\n", "")


def test_a_missing_package(requires, capsys):
    requires("numpy", "no-such-package>=2")
    self_test()
    message = "no-such-package is missing: run `make lab`, or `pip install 'no-such-package>=2'`.\n"
    assert capsys.readouterr().out == message


def test_all_problems_are_listed_in_order(requires, monkeypatch, capsys):
    monkeypatch.setattr(metadata, "version", lambda name: {"numpy": "1.26.4", "scipy": "2.0"}[name])
    requires("numpy>=2.2", "scipy>=1.15", "numpy<1.20")
    self_test()
    assert capsys.readouterr().out.splitlines() == [
        "numpy is 1.26.4 and must be >=2.2: run `make lab` again.",
        "numpy is 1.26.4 and must be <1.20: run `make lab` again.",
    ]


def test_one_missing_package_does_not_hide_the_next(requires):
    requires("no-such-package", "numpy<1")
    first, second = problems()
    assert first == "no-such-package is missing: run `make lab`, or `pip install 'no-such-package'`."
    assert second.startswith("numpy is ")


@pytest.mark.parametrize(("version", "ready"), [("2.1.9", False), ("2.2", True), ("2.3.0rc1", True), ("9", True)])
def test_versions_are_compared_with_the_range(version, ready, requires, monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: version)
    requires("numpy>=2.2")
    assert (problems() == []) is ready


def test_packages_for_tests_and_other_machines_are_not_asked_for(requires):
    requires("no-such-package; extra == 'test'", "no-such-package; python_version < '3'")
    assert problems() == []
    requires("no-such-package; extra == 'test'", "no-such-package; python_version >= '3'")
    assert len(problems()) == 1


def test_a_distribution_without_requirements(monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: None)
    assert problems() == []


def test_helpers_that_are_not_installed(monkeypatch, capsys):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", missing)
    self_test()
    assert capsys.readouterr().out == (
        "The package 'helpers' is not installed in this kernel: run `make lab`, or `pip install -e .` here.\n"
    )


@pytest.mark.parametrize(("version", "ready"), [((3, 10, 14), False), ((3, 11, 0), True), ((3, 13, 2), True)])
def test_python_too_old(version, ready, requires, monkeypatch):
    requires()
    monkeypatch.setattr(metadata, "metadata", lambda name: {DISTRIBUTION: {"Requires-Python": ">=3.11"}}[name])
    monkeypatch.setattr(sys, "version_info", (*version, "final", 0))
    shown = ".".join(map(str, version))
    message = f"Python is {shown} and must be >=3.11: choose another kernel or environment."
    assert problems() == ([] if ready else [message])


def test_a_missing_font(requires, monkeypatch):
    requires()
    others = [font for font in font_manager.fontManager.ttflist if font.name != "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", others)
    assert problems() == [
        "The font DejaVu Sans, which Matplotlib ships, is missing: figures may show boxes for symbols."
    ]
