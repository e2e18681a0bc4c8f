"""Start one student's server, as that student; JupyterHub calls it (``c.Spawner.cmd``).

Gives the student a copy of what is new in the notebooks, and leaves alone what is already there. Sets the limit of
memory, which the kernels inherit: beyond it Python raises MemoryError, and the other students notice nothing.
"""

import os
import resource
import runpy
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIES = {
    "build/student/movable-derivations/notebooks": "movable-derivations/notebooks",
    "build/student/movable-derivations/examples": "movable-derivations/examples",
    ".venv/user/matplotlib": ".cache/matplotlib",  # its list of fonts, which else takes each first kernel 1.5 s
}


def copy_what_is_new(home: Path, root: Path = ROOT) -> list[Path]:
    """Copy files of COPIES that are not in the home folder yet, never overwriting; what was copied."""
    copied = []
    for source, target in COPIES.items():
        for file in sorted(path for path in (root / source).rglob("*") if path.is_file()):
            copy = home / target / file.relative_to(root / source)
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
                copied.append(copy)
    return copied


def limit_memory(environ: dict[str, str]) -> None:
    """Limit the data of this process and of each one it starts to MEM_LIMIT bytes, which the hub sets."""
    if limit := environ.get("MEM_LIMIT"):
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit), int(limit)))


if __name__ == "__main__":
    copy_what_is_new(Path.home())
    limit_memory(os.environ)
    # jsonschema takes 2 s and 17 MB to prepare for one format, IRIs, that Jupyter's events do not use. Without this
    # package it leaves that format unchecked.
    sys.modules["rfc3987_syntax"] = None
    runpy.run_module("jupyterhub.singleuser", run_name="__main__", alter_sys=True)
