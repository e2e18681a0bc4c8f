"""pyproject.toml, requirements.lock, environment.yml, the Makefile and the README say the same of the environment."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEPENDENCIES = [Requirement(line) for line in sum(EXTRAS.values(), PROJECT["dependencies"])]
LOCK = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if line[0] != "#"]
PINS = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in LOCK}
INSTALLED = {canonicalize_name(dist.name): dist for dist in importlib.metadata.distributions()}
PYTHONS = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in SpecifierSet(PROJECT["requires-python"])]
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]
MAKEFILE = (ROOT / "Makefile").read_text()
CI = [ROOT / ".ci/run", *(ROOT / ".github/workflows").glob("*.yml")]


@pytest.mark.parametrize("requirement", DEPENDENCIES, ids=str)
def test_every_dependency_is_pinned_within_its_range(requirement):
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_lock_is_made_of_plain_exact_versions():
    names = [canonicalize_name(pin.name) for pin in LOCK]
    assert len(set(names)) == len(names)
    for pin in LOCK:
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)), f"{pin} is not one version for every system"
        assert pin.marker is pin.url is None
    assert not {"pip", "setuptools", "wheel", "movable-derivations"} & set(names)


def test_what_is_installed_is_what_the_lock_says():
    present = {name: Version(dist.version).public for name, dist in INSTALLED.items() if name in PINS}
    assert {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]} <= present.keys()
    assert present == {name: PINS[name] for name in present}


def test_the_versions_agree_with_each_other():
    """Oracle: pip's own check of every installed package against the versions it asks for."""
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, timeout=120)
    assert check.returncode == 0, check.stdout


@pytest.mark.skipif(
    sys.version_info[:2] != Version(OLDEST).release, reason="only the oldest Python shows what it refuses"
)
def test_every_pin_installs_on_the_oldest_python():
    for name in PINS.keys() & INSTALLED.keys():
        wanted = INSTALLED[name].metadata["Requires-Python"] or ""
        assert SpecifierSet(wanted).contains(f"{OLDEST}.0"), f"{name} {PINS[name]} wants Python {wanted}"


def test_conda_gets_python_and_leaves_the_rest_to_pip():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    assert environment["channels"] == ["conda-forge"]
    python, pip, last = environment["dependencies"]
    # Of a range repo2docker understands nothing, and takes its own default, a Python that is too old.
    assert python in {f"python={version}" for version in PYTHONS}
    assert pip == "pip"
    assert last["pip"][-1] == "-e ."
    assert all(line.startswith("-") for line in last["pip"]), "a package is named beside pyproject.toml"


def test_there_is_one_list_of_dependencies():
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.splitlines() or [str(path.relative_to(ROOT)) for path in ROOT.iterdir()]
    other_list = re.compile(
        r"(^|/)(.*requirements.*\.(txt|in)|setup\.(py|cfg)|Pipfile.*|.*\.lock|pixi\..*|tox\.ini|.*environment.*\.ya?ml)$"
    )
    assert {path for path in tracked if other_list.search(path)} == {"environment.yml", "requirements.lock"}
    for path in [ROOT / "Makefile", ROOT / "README.md", ROOT / "CONTRIBUTING.md", *CI]:
        for words in re.findall(r"(?:pip install|\$\(INSTALL\)) ([^#`\n]+)", path.read_text()):
            allowed = r"--disable-pip-version-check|(-c requirements\.lock )?-e \S+"
            assert re.fullmatch(allowed, words.strip()), f"{path.name} installs {words}"


def test_the_commands_in_the_texts_exist():
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        commands = set(re.findall(r"(?:^|`|\$ )make ([a-z]+)", (ROOT / name).read_text(), re.MULTILINE))
        assert commands <= targets, f"{name} names {commands - targets}"
        assert {"lab", "test"} <= commands or name != "README.md"
    assert "conda env create -f environment.yml" in (ROOT / "README.md").read_text()


def test_every_ci_runs_the_same_command():
    for path in CI:
        assert "make test" in path.read_text(), path
        assert "pytest" not in path.read_text(), path


def test_the_oldest_and_the_newest_python_are_tested_and_named():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == [OLDEST, NEWEST]
    assert f'python-version: "{NEWEST}"' in (ROOT / ".github/workflows/weekly.yml").read_text()
    assert f"Python {OLDEST} to {NEWEST} is needed" in MAKEFILE
    rule = re.search(r"sys\.exit\((not .*?)\)'", MAKEFILE)[1]
    accepted = [f"3.{k}" for k in range(30) if not eval(rule.replace("sys.version_info", str((3, k, 7, "final", 0))))]
    assert accepted == PYTHONS


def test_the_citation_names_this_version_and_eight_articles():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    urls = [reference["url"] for reference in citation["references"]]
    assert len(set(urls)) == 8
    assert all(re.fullmatch(r"https://kexue\.fm/archives/\d{4}", url) for url in urls)


@pytest.fixture
def fresh_clone(tmp_path):
    """The Makefile beside a stand-in for Python that writes down its arguments and puts itself where venv puts it."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    stand_in = tmp_path / "python"
    stand_in.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n'
        f'case "$*" in *"-m venv"*) mkdir -p .venv/bin && cp {stand_in} .venv/bin/python;; esac\n'
        'case "$1$2" in "-c"*) [ ! -e too_old ];; esac\n'
    )
    stand_in.chmod(0o755)

    def make(target):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        (tmp_path / "calls").write_text("")
        done = subprocess.run(
            ["make", target, f"PYTHON={stand_in}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done, [call for call in (tmp_path / "calls").read_text().splitlines() if "pip install" in call]

    return tmp_path, make


@pytest.mark.parametrize("target", ["lab", "test"])
def test_nothing_is_installed_twice(fresh_clone, target):
    folder, make = fresh_clone
    first, installed = make(target)
    assert first.returncode == 0, first.stderr
    assert installed
    again, installed = make(target)
    assert again.returncode == 0
    assert not installed
    future = (folder / ".venv/lab").stat().st_mtime + 5
    os.utime(folder / "requirements.lock", (future, future))
    assert make(target)[1], "a new lock must be installed"


def test_an_old_python_is_refused_in_words(fresh_clone):
    folder, make = fresh_clone
    (folder / "too_old").touch()
    refused, installed = make("lab")
    assert refused.returncode != 0
    assert f"Python {OLDEST} to {NEWEST} is needed" in refused.stderr
    assert not installed
    assert not (folder / ".venv").exists()
