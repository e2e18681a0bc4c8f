"""A real JupyterLab in a headless Chromium, on loopback only; the latency benchmark starts them the same way."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Page

from tools.browser import NAMES, chromium, find_chromium

ROOT = Path(__file__).parents[2]
_NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """Run JupyterLab on `folder/work` and yield its address; everything it writes stays inside `folder`.

    Raises
    ------
    RuntimeError
        When the server ends or is not ready within 60 s, with the end of its log.
    """
    places = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython",
    }  # fmt: skip
    env = os.environ | {key: str(folder / name) for key, name in places.items()}
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # keeps the network off
    env |= {"PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"}
    setting = folder / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    setting.parent.mkdir(parents=True)
    setting.write_text(json.dumps(_NO_NEWS), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder / 'work'}", f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    log = folder / "server.log"
    with log.open("w") as sink, subprocess.Popen(command, env=env, stdout=sink, stderr=sink) as server:
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/api/status?token={token}", server, log)
            yield f"http://127.0.0.1:{port}/lab?token={token}"
        finally:
            server.terminate()  # ends its kernels too
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_until_ready(url: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:  # nobody listens yet
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start; its log ends:\n{log.read_text()[-2000:]}")


def write_notebook(path: Path, *sources: str) -> None:
    """Write a notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def cut_notebook(path: Path, word: str) -> None:
    """Drop the cells after the first code cell that holds a word."""
    notebook = nbformat.read(path, as_version=4)
    last = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and word in cell.source)
    del notebook.cells[last + 1 :]
    nbformat.write(notebook, path)


def open_lab(page: Page, url: str) -> None:
    """Load JupyterLab and wait until its commands can be run."""
    page.goto(url)
    page.wait_for_function("window.jupyterapp?.commands.hasCommand('notebook:run-all-cells')", timeout=60_000)
    page.evaluate("jupyterapp.restored.then(() => null)")


def run_all(page: Page, notebook: str, seconds: float = 120) -> list[str]:
    """Open a notebook, run all its cells, wait until the kernel is idle; returns the errors among the outputs."""
    page.evaluate("path => { jupyterapp.commands.execute('docmanager:open', {path}) }", notebook)
    page.wait_for_function(
        "path => { const panel = jupyterapp.shell.currentWidget; return panel?.context?.path === path && "
        "panel.sessionContext.session?.kernel?.status === 'idle' }",
        arg=notebook, timeout=60_000,
    )  # fmt: skip
    page.evaluate(
        "{ window.ran = false; "
        "jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.ran = true }) }"
    )
    page.wait_for_function(
        "window.ran && jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'",
        timeout=1000 * seconds,
    )
    return page.evaluate(
        "jupyterapp.shell.currentWidget.content.model.sharedModel.cells.flatMap(cell => cell.outputs ?? [])"
        ".filter(output => output.output_type === 'error').map(output => `${output.ename}: ${output.evalue}`)"
    )


@pytest.fixture(scope="module")
def browser_path() -> str:
    path = find_chromium()
    if path is None:
        message = f"no browser: install one of {', '.join(NAMES)}, or set CHROMIUM to its path"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return path


@pytest.fixture(scope="module")
def loaded(browser_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """JupyterLab on a copy of the notebooks, in one page for all tests; what goes wrong there is collected."""
    folder = tmp_path_factory.mktemp("jupyterlab")
    shutil.copytree(ROOT / "notebooks", folder / "work", ignore=shutil.ignore_patterns(".*"))
    with jupyterlab(folder) as url, chromium(browser_path) as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        errors, strangers = [], []

        def note(address: str) -> None:
            parts = urlsplit(address)
            if parts.scheme not in ("blob", "data") and parts.hostname != "127.0.0.1":
                strangers.append(address)

        page.context.on("request", lambda request: note(request.url))
        page.on("websocket", lambda socket: note(socket.url))
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        open_lab(page, url)
        yield SimpleNamespace(
            page=page, errors=errors, strangers=strangers, run_all=partial(run_all, page),
            write=lambda name, *sources: write_notebook(folder / "work" / name, *sources),
            cut=lambda name, word: cut_notebook(folder / "work" / name, word),
        )  # fmt: skip


@pytest.fixture
def lab(loaded: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """The loaded JupyterLab; after the test its kernels end, and no error and no outside request may be on record."""
    yield loaded
    loaded.page.evaluate("jupyterapp.serviceManager.sessions.shutdownAll()")
    errors, strangers = loaded.errors[:], loaded.strangers[:]
    loaded.errors.clear()
    loaded.strangers.clear()
    assert strangers == [], "requests that leave this machine"
    assert errors == [], "errors in the browser's console"
