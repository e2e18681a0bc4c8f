"""The whole suite runs with the network off: in this process, and through PYTHONPATH in every one it starts."""

import os
import runpy
from pathlib import Path

OFFLINE = Path(__file__).parent / "offline"

runpy.run_path(str(OFFLINE / "sitecustomize.py"), run_name="sitecustomize")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
os.environ["OMP_NUM_THREADS"] = "1"  # the workers of the suite share the cores; one thread each also repeats digits
