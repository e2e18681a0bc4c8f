"""The examples: a stream in bounded memory, and real worker processes that agree with one process."""

import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from helpers.discriminant import ClassMoments
from tests.example_scripts import load

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def stream():
    return load("discriminant_stream")


def test_stream_equals_one_pass_over_all_rows(stream):
    source = stream.population(4, 3, seed=0)
    rows = list(stream.chunks(source, 1000, 64, seed=1))
    assert [len(y) for _, y in rows] == [64] * 15 + [40]
    whole = ClassMoments.from_data(np.vstack([X for X, _ in rows]), np.concatenate([y for _, y in rows]))
    moments, classifier = stream.fit(source, 1000, 64, seed=1)
    np.testing.assert_array_equal(moments.count, whole.count)
    np.testing.assert_allclose(moments.mean, whole.mean, rtol=1e-10)
    np.testing.assert_allclose(moments.scatter, whole.scatter, rtol=1e-10)
    assert classifier.weights.shape == (3, 4)


def test_stream_rows_have_the_moments_they_are_drawn_from(stream):
    source = stream.population(3, 2, seed=0)
    moments, _ = stream.fit(source, 100_000, 10_000, seed=1)
    np.testing.assert_allclose(moments.priors, source.priors, atol=0.01)
    np.testing.assert_allclose(moments.mean, source.mean, atol=0.05)
    np.testing.assert_allclose(moments.within_cov(), source.within_cov(), atol=0.1)


def test_stream_memory_does_not_grow_with_the_rows(stream):
    source = stream.population(10, 3, seed=0)
    peaks = []
    for rows in (5_000, 50_000):
        tracemalloc.start()
        stream.fit(source, rows, 1000, seed=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 50_000 * 10 * 8 / 4  # a quarter of what the rows would take


def test_stream_as_a_command(stream, capsys):
    stream.main(["--rows", "20000", "--chunk", "3000", "--features", "5", "--classes", "3"])
    out = capsys.readouterr().out
    assert "rows 20000, features 5, classes 3, state 43 numbers" in out
    fitted, best = map(float, re.search(r"accuracy on 20000 new rows ([\d.]+), .* rule ([\d.]+)", out).groups())
    assert 0.5 < best < 0.99
    assert fitted == pytest.approx(best, abs=0.01)


def test_two_real_workers_equal_one_process():
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [
        str(ROOT / "examples/discriminant_distributed.py"),
        "--rows",
        "500",
        "--features",
        "6",
        "--classes",
        "4",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert "workers 2, rows 1500, features 6, classes 4" in run.stdout
    assert f"bytes summed per worker {8 * (4 * (1 + 6) + 6 * 6)} in 2 all-reduces" in run.stdout
    assert float(re.search(r"one-process fit (\S+): ok", run.stdout).group(1)) <= 1e-10
