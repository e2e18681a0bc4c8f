"""Peak memory of examples/discriminant_stream.py from 10⁵ to 10⁷ rows, one process per size (Linux, macOS).

python benchmarks/discriminant_memory.py
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FEATURES, CLASSES, CHUNK = 20, 5, 16_384


def peak_and_seconds(rows: int) -> tuple[float, float]:
    """Peak resident memory of the whole process in MiB, and the seconds it reports for the fit."""
    command = [sys.executable, str(ROOT / "examples/discriminant_stream.py"), f"--rows={rows}", f"--chunk={CHUNK}"]
    command += [f"--features={FEATURES}", f"--classes={CLASSES}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return usage.ru_maxrss / unit, float(output.split("seconds ")[1].split()[0])


def main() -> None:
    print(f"{FEATURES} features, {CLASSES} classes, chunks of {CHUNK} rows")
    print(f"{'rows':>10} {'peak RSS (MiB)':>15} {'all rows (MiB)':>15} {'seconds':>8}")
    for rows in (10**5, 10**6, 10**7):
        peak, seconds = peak_and_seconds(rows)
        print(f"{rows:>10} {peak:>15.1f} {rows * FEATURES * 8 / 2**20:>15.1f} {seconds:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
