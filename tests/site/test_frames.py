"""The frames of playable figures, drawn by a small picture: which positions, what is said, how heavy."""

import io
import json
import subprocess
import sys
from pathlib import Path

import ipywidgets as widgets
import nbformat
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.lab import Explorer, choice, log_slider, slider, text, toggle
from helpers.lab.controls import positions
from tools.notebooks import Notebook
from tools.site import frames as tool


class Step:
    """A bar of height n; drawn small because the tests draw often."""

    def __init__(self, figure):
        figure.set_size_inches(2, 1)
        self.axes = figure.subplots()
        self.axes.set(xlabel="order $n$", ylabel=r"error $\epsilon$", title="how far off", ylim=(0, 30))
        (self.bar,) = self.axes.bar([0], [1])

    def update(self, n, **others):
        self.bar.set_height(n)
        return f"n is {n:g}"

    def run(self, progress, n, **others):
        return self.update(n)


@pytest.fixture
def steps():
    return lambda **controls: Explorer(Step, **controls)


def test_every_position_has_a_frame_a_value_and_the_caption_of_the_picture(steps, tmp_path):
    explorer = steps(
        run="Go", n=slider("order n", 0.5, 2.0, 0.5, value=1.0), kind=choice("kind", ["a", "b"], value="b")
    )
    told = tool.play(explorer, tmp_path, 7)
    assert (told.cell, told.control, told.start, told.run) == (7, "order n", 1, "Go")
    assert told.values == ["0.5", "1.0", "1.5", "2.0"]  # with the decimals of the live slider
    assert told.captions == ["n is 0.5", "n is 1", "n is 1.5", "n is 2"]
    assert told.others == ["kind = b"]
    assert (told.width, told.height) == (200, 100)
    assert told.about == "Plot of how far off: error epsilon over order n"
    assert explorer.values == {"n": 1.0, "kind": "b"}
    for k, stop in enumerate((0.5, 1.0, 1.5, 2.0)):
        explorer.set(n=stop)
        shown = np.asarray(Image.open(tmp_path / "7" / f"{k}.webp").convert("RGB"), float)
        assert np.abs(shown - explorer.frame).mean() < 0.5, "the palette changes no picture to the eye"


def test_labels_of_a_log_slider_and_of_a_choice_are_those_a_reader_sees(steps, tmp_path):
    assert tool.play(steps(n=log_slider("n", 1, 16, value=4, base=2, divisions=1)), tmp_path, 0).values == [
        "1", "2", "4", "8", "16",
    ]  # fmt: skip
    assert tool.play(steps(n=choice("n", {"few": 3, "many": 9})), tmp_path, 1).values == ["few", "many"]


@pytest.mark.parametrize("control", [toggle("n"), text("n", value="3")])
def test_what_cannot_be_played_says_what_to_do(control, tmp_path):
    class Deaf(Step):
        def update(self, n):
            return "always the same"

    with pytest.raises(tool.NoFrames, match=r"name another: Explorer\(main=…\)"):
        tool.play(Explorer(Deaf, n=control), tmp_path, 0)


def test_a_position_that_fails_is_named(tmp_path):
    class Bad(Step):
        def update(self, n):
            return f"n is {1 / (3 - n):g}"

    with pytest.raises(tool.NoFrames, match="at n = 3: ZeroDivisionError: division by zero"):
        tool.play(Explorer(Bad, n=slider("n", 1, 3, 1, value=2)), tmp_path, 0)


def test_a_heavy_figure_has_fewer_frames(steps, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "MOST_BYTES", 1)
    explorer = steps(n=slider("n", 0, 30, 1, value=3))
    assert len(tool.play(explorer, tmp_path, 0).values) == min(tool.FRAMES)
    assert len(list(tmp_path.rglob("*.webp"))) == min(tool.FRAMES)


SLIDERS = st.one_of(
    st.tuples(st.integers(-9, 9), st.integers(1, 99), st.integers(1, 7), st.floats(0, 1)).map(
        lambda drawn: slider("n", drawn[0], drawn[0] + drawn[1], drawn[2], value=drawn[0] + round(drawn[3] * drawn[1]))
    ),
    st.tuples(st.floats(-5, 5), st.integers(2, 99), st.integers(0, 99)).map(
        lambda drawn: widgets.FloatSlider(
            min=drawn[0], max=drawn[0] + 0.1 * drawn[1], step=0.1, value=drawn[0] + 0.1 * min(drawn[1], drawn[2])
        )
    ),
    st.integers(2, 60).map(lambda many: log_slider("n", 1, 10**many, value=10, divisions=1)),
)


@settings(max_examples=40)
@given(SLIDERS, st.integers(3, 31))
def test_stops_hold_both_ends_and_the_default_and_are_no_more_than_asked(control, most):
    every, stops = positions(control, limit=10**6), tool.stops_of(control, most)
    assert len(stops) <= most
    assert len(stops) == min(most, len(every))
    assert stops.count(control.value) == 1
    ends = {control.value if k == control.value else k for k in (every[0], every[-1])}
    assert {stops[0], stops[-1]} <= ends | {control.value}
    assert stops == sorted(stops)


def lesson(tmp_path, explorer, setup="from helpers import lab\nfrom tests.site.test_frames import Step"):
    cells = [nbformat.v4.new_code_cell(source) for source in (setup, explorer)]
    path = tmp_path / "01_small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


GOOD = 'lab.Explorer(Step, n=lab.slider("order n", 1, 3, 1, value=2))'


def test_a_notebook_is_drawn_in_a_process_of_its_own_and_only_once(tmp_path, monkeypatch):
    path, calls = lesson(tmp_path, GOOD), []

    def run(command, **options):  # the fixture `site` starts a real one
        calls.append(command)
        tool.draw(*map(Path, command[3:]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    folder, told = tool.frames(path, tmp_path / "cache")
    assert [figure.captions for figure in told] == [["n is 1", "n is 2", "n is 3"]]
    assert calls[0][:3] == [sys.executable, "-m", "tools.site.frames"]
    assert tool.frames(path, tmp_path / "cache") == (folder, told)
    assert len(calls) == 1
    assert json.loads((folder / tool.DONE).read_text())[0]["cell"] == 1


def test_another_cell_or_another_helper_is_another_key(tmp_path, monkeypatch):
    first = tool.key(Notebook.read(lesson(tmp_path, GOOD)))
    assert tool.key(Notebook.read(lesson(tmp_path, GOOD))) == first
    assert tool.key(Notebook.read(lesson(tmp_path, GOOD.replace("3", "4")))) != first
    helper = tmp_path / "root/helpers/a.py"
    helper.parent.mkdir(parents=True)
    monkeypatch.setattr(tool, "ROOT", tmp_path / "root")
    monkeypatch.setattr(tool, "__file__", str(tmp_path / "root/frames.py"))
    (tmp_path / "root/frames.py").write_text("")
    helper.write_text("1")
    first = tool.key(Notebook.read(lesson(tmp_path, GOOD)))
    helper.write_text("2")
    assert tool.key(Notebook.read(lesson(tmp_path, GOOD))) != first


def test_a_failing_explorer_is_named(tmp_path, monkeypatch):
    path = lesson(tmp_path, GOOD.replace("Step", "Nothing"))
    with pytest.raises(NameError, match="name 'Nothing' is not defined"):
        tool.draw(path, tmp_path)
    failed = subprocess.CompletedProcess([], 1, stderr="NameError: name 'Nothing' is not defined")
    monkeypatch.setattr(subprocess, "run", lambda *given, **options: failed)
    with pytest.raises(tool.NoFrames, match=r"01_small.ipynb: NameError: name 'Nothing' is not defined"):
        tool.frames(path, tmp_path / "cache")


def test_an_explorer_must_end_its_cell(tmp_path):
    with pytest.raises(tool.NoFrames, match=r"01_small.ipynb, cell 1: the Explorer is not the last expression"):
        tool.draw(lesson(tmp_path, f"explorer = {GOOD}"), tmp_path)


def test_a_notebook_without_explorers_needs_nothing(tmp_path):
    assert tool.frames(lesson(tmp_path, "1"), tmp_path / "cache")[1] == []


def test_lossless_means_the_palette_alone_changes_pixels():
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[1:3] = 200, 30, 90
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(tool.webp(rgb))).convert("RGB")), rgb)
