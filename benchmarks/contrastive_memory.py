"""What a training step adds to the peak memory of a worker, with its own rows of the score matrix or all of them.

python benchmarks/contrastive_memory.py

NT-Xent over a batch spread over 1, 2 and 4 workers (examples/contrastive_distributed.py, float32; Linux, macOS).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAIRS = 4096


def added(workers: int, scores: str) -> float:
    """MiB of the worker that needs most."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}"]
    command += [str(ROOT / "examples/contrastive_distributed.py"), f"--pairs={PAIRS}", f"--memory={scores}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return float(re.search(r"added (\S+) MiB", output)[1])


def main() -> None:
    print(f"{PAIRS} pairs; the matrix of all scores takes {(2 * PAIRS) ** 2 * 4 / 2**20:.0f} MiB")
    print(f"{'workers':>8} {'own rows (MiB)':>15} {'whole matrix (MiB)':>19}")
    for workers in (1, 2, 4):
        print(f"{workers:>8} {added(workers, 'own'):>15.0f} {added(workers, 'whole'):>19.0f}", flush=True)


if __name__ == "__main__":
    main()
