"""The examples on contrastive learning: real worker processes have the loss and the gradient of one process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = re.compile(r"^(right|wrong): (.+?) {2,}(\S+) +(\S+) +(\S+) +(\S+)$", re.MULTILINE)


def test_two_real_workers_equal_one_process_and_the_usual_mistakes_do_not():
    """One test: to start the workers takes nearly all of its time."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(ROOT / "examples/contrastive_distributed.py"), "--pairs", "24"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "workers 2, pairs 24\n" in run.stdout
    assert "UNEXPECTED" not in run.stdout
    # Relative differences: loss and gradient of InfoNCE, loss and gradient of FlatNCE.
    differences = {(kind, variant): tuple(map(float, numbers)) for kind, variant, *numbers in TABLE.findall(run.stdout)}
    assert [kind for kind, _ in differences] == ["right"] * 2 + ["wrong"] * 4

    for rows in ("own rows", "whole matrix"):
        assert max(differences["right", f"{rows}, gathered with gradient"]) <= 1e-6
    assert min(differences["wrong", "negatives of own worker only"]) >= 0.03
    factor = "whole matrix, own keys put back"
    for lost in ("own rows, gathered without gradient", "own rows, own keys put back", factor):
        loss, gradient, flat_loss, flat_gradient = differences["wrong", lost]
        assert max(loss, flat_loss) <= 1e-6  # the loss does not show it
        assert min(gradient, flat_gradient) >= 0.1
    assert differences["wrong", factor][1::2] == pytest.approx((0.5, 0.5), abs=1e-6)  # 1 - 1/W
