"""How many students one machine carries: a real JupyterHub on loopback, with the configuration of ``deploy/``.

Run ``python benchmarks/hub_load.py`` in the environment that ``make hub`` makes. N simulated students arrive within
half a minute, each with a server of their own, open a notebook, run all of it and then move its sliders; once while
others still run theirs, and once together when every notebook has run. They speak to JupyterHub, to their servers and
to their kernels as JupyterLab does. What differs from a class is written to the configuration in `TEST_ONLY`.

For each N: memory per student (PSS of the student's server and kernel: pages that processes share are divided among
them), what the machine lost of its available memory, times, and failures: every error, dead kernel or answer that did
not come within ``--timeout``. The simulated students take processor time of the same machine.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import psutil
from tornado.httpclient import AsyncHTTPClient

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.hub_students import Result, Student  # noqa: E402

COURSE = "movable-derivations/notebooks"
NOTEBOOKS = ("01_logistic_regression_closed_form", "08_gradient_normalization")  # without torch, and with it
TOKEN = "for-this-machine-and-this-hour"
# Students need no password and no Unix account; ports, home folders and the database last as long as the test.
TEST_ONLY = """
load_subconfig({config!r})
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.Spawner.args = [*c.Spawner.args, "--allow-root"]  # where this test is run by root
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r}
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.JupyterHub.services = [*c.JupyterHub.services, {{"name": "load", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [*c.JupyterHub.load_roles, {{
    "name": "load", "services": ["load"], "scopes": ["admin:users", "admin:servers", "tokens", "access:servers"]}}]
"""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def running_hub(folder: Path, proxy: str) -> Iterator[str]:
    """JupyterHub with the configuration of ``deploy/`` and `TEST_ONLY`; its base URL."""
    (folder / "class.txt").write_text("nobody\n")
    port, hub_port, proxy_port = free_ports(3)
    config = folder / "jupyterhub_config.py"
    config.write_text(TEST_ONLY.format(
        config=str(ROOT / "deploy/jupyterhub_config.py"), homes=str(folder / "home/{username}"), port=port,
        hub_port=hub_port, proxy_port=proxy_port, proxy=proxy, token=TOKEN,
    ))  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with (folder / "hub.log").open("w") as log:
        hub = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(config)], cwd=folder, stdout=log, stderr=log,
            env=os.environ | {"HUB_STATE": str(folder)}, start_new_session=True,
        )  # fmt: skip
        try:
            _wait_for(f"{url}/hub/api/", hub, folder / "hub.log")
            yield url
        finally:
            hub.send_signal(signal.SIGTERM)  # the hub stops its servers, its proxy and its services
            try:
                hub.wait(120)
            except subprocess.TimeoutExpired:
                os.killpg(hub.pid, signal.SIGKILL)


def _wait_for(url: str, process: subprocess.Popen, log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urlopen(url, timeout=5).close()
            return
        except (URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterHub did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.2)


def memory_in_use(folder: Path) -> tuple[dict[str, dict[str, float]], float]:
    """PSS in MB of each student's server and kernel, and of the hub with its proxy and its culler.

    Processes are known by their environment: the hub's state lies in `folder`, the students' homes in its ``home``.
    """
    students: dict[str, dict[str, float]] = {}
    hub = 0.0
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if Path(environment.get("HOME", "/")).parent == folder / "home":
                part = "kernel" if "ipykernel_launcher" in " ".join(process.cmdline()) else "server"
                mine = students.setdefault(environment["JUPYTERHUB_USER"], {"server": 0.0, "kernel": 0.0})
                mine[part] += process.memory_full_info().pss / 2**20
            elif environment.get("HUB_STATE") == str(folder):
                hub += process.memory_full_info().pss / 2**20
        except psutil.Error:  # it has ended meanwhile, or is not ours to look into
            continue
    return students, hub


async def lowest_memory(into: list[float]) -> None:
    """Note the available memory of the machine, in MB, twice a second until cancelled."""
    while True:
        into.append(psutil.virtual_memory().available / 2**20)
        await asyncio.sleep(0.5)


async def lesson(url: str, count: int, settings: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """N students' lesson; `summary` of it."""
    students = [
        Student(url, TOKEN, f"student{k:02}", f"{COURSE}/{settings.notebooks[k % len(settings.notebooks)]}.ipynb",
                settings.timeout)
        for k in range(count)
    ]  # fmt: skip
    available = [psutil.virtual_memory().available / 2**20]
    watch = asyncio.create_task(lowest_memory(available))

    async def attend(k: int) -> None:
        await asyncio.sleep(settings.arrivals * k / count)
        await students[k].attend()
        await students[k].move(settings.moves, settings.think, students[k].result.busy_moves)

    await asyncio.gather(*map(attend, range(count)))
    await asyncio.gather(*(student.move(settings.moves, settings.think, student.result.moves) for student in students))
    watch.cancel()
    memory, hub = memory_in_use(folder)
    for student in students:
        await student.kernel.close()
    return summary([student.result for student in students], memory, available, settings.moves) | {"hub_mb": hub}


def percentile(values: list[float], share: float) -> float | None:
    """Percentile with linear interpolation; None of nothing."""
    return float(np.percentile(values, share)) if values else None


def summary(results: list[Result], memory: dict, available: list[float], moves: int) -> dict[str, Any]:
    """One row of the table. A kernel that is gone at the end, and nobody noticed, is a failure too.

    Parameters
    ----------
    results : list of Result
        One a student.
    memory : dict
        The students' part of `memory_in_use`.
    available : list of float
        Memory of the machine in MB, the first before the students came.
    moves : int
        How many moves each student meant to make in each round.
    """
    failures = [f"{one.name}: {text}" for one in results for text in one.failures]
    failures += [
        f"{one.name}: no kernel at the end"
        for one in results
        if not (one.failures or memory.get(one.name, {}).get("kernel"))
    ]
    still_running = [seconds for one in results for seconds in one.busy_moves]
    together = [seconds for one in results for seconds in one.moves]
    known = {
        name: [value for one in results if (value := getattr(one, name)) is not None]
        for name in ("server", "first_picture", "run_all")
    }
    return {
        "students": len(results),
        "memory_mb": {part: mean([memory[name][part] for name in memory]) if memory else None
                      for part in ("server", "kernel")},
        "machine_mb": available[0] - min(available),
        "server_s": percentile(known["server"], 50),
        **{f"{name}_s": {"median": percentile(known[name], 50), "max": percentile(known[name], 100)}
           for name in ("first_picture", "run_all")},
        "moves_s": {"count": len(together), "p50": percentile(together, 50), "p95": percentile(together, 95)},
        "busy_moves_s": {"count": len(still_running), "p50": percentile(still_running, 50),
                         "p95": percentile(still_running, 95)},
        "missing_moves": 2 * moves * len(results) - len(together) - len(still_running),
        "failures": failures,
        "results": [asdict(one) | {"memory_mb": memory.get(one.name)} for one in results],
    }  # fmt: skip


HEAD = (
    "| students | MB each: server + kernel | MB of the hub | MB of the machine | first picture, s: median (last) "
    "| run all, s: median (last) | move, ms: p50 / p95 | the same while others run all | failures |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def row(found: dict[str, Any]) -> str:
    """A summary as a row of Markdown."""

    def show(value: float | None, scale: float = 1) -> str:
        return "–" if value is None else f"{value * scale:.0f}"

    cells = [
        f"{found['students']}",
        " + ".join(show(found["memory_mb"][part]) for part in ("server", "kernel")),
        show(found["hub_mb"]),
        show(found["machine_mb"]),
        *(f"{show(found[name]['median'])} ({show(found[name]['max'])})" for name in ("first_picture_s", "run_all_s")),
        *(
            f"{show(found[name]['p50'], 1000)} / {show(found[name]['p95'], 1000)}"
            for name in ("moves_s", "busy_moves_s")
        ),
        f"{len(found['failures'])}",
    ]
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write the JSON; 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, nargs="+", default=[1, 5, 10, 20, 30])
    parser.add_argument("--notebooks", nargs="+", default=NOTEBOOKS, help="dealt out in turn")
    parser.add_argument("--moves", type=int, default=20, help="of each student, in each of the two rounds")
    parser.add_argument("--think", type=float, default=1.0, help="mean pause between two moves in seconds")
    parser.add_argument("--arrivals", type=float, default=30.0, help="seconds within which all arrive")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds that a student waits for anything")
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    parser.add_argument("--proxy", help="another configurable-http-proxy than the one that `make hub` installs")
    settings = parser.parse_args(arguments)
    proxy = settings.proxy or str(ROOT / ".venv/node_modules/.bin/configurable-http-proxy")
    if shutil.which(proxy) is None:
        parser.error(f"no proxy at {proxy}: run `make hub` once, or give --proxy")
    AsyncHTTPClient.configure(None, max_clients=1000)
    machine = {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
    }
    rows = []
    print(f"{machine['cores']} cores, {machine['memory_gb']} GB; notebooks {', '.join(settings.notebooks)}\n{HEAD}")
    for count in settings.students:
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory(prefix="hub-") as name, running_hub(Path(name), proxy) as url:
            found = asyncio.run(lesson(url, count, settings, Path(name)))
            log = (Path(name) / "hub.log").read_text()
        rows.append(found | {"load_before": load})
        print(row(found), flush=True)
        for text in found["failures"]:
            print(f"  {text}", file=sys.stderr)
        if found["failures"]:
            print(f"the end of the hub's log:\n{log[-3000:]}", file=sys.stderr)
        if settings.json:
            given = {key: str(value) if isinstance(value, Path) else value for key, value in vars(settings).items()}
            settings.json.write_text(json.dumps({"machine": machine, "settings": given, "rows": rows}, indent=1))
    return int(any(found["failures"] for found in rows))


if __name__ == "__main__":
    sys.exit(main())
