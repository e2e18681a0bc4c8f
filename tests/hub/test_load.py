"""The load test's parts: simulated students against a real kernel, what they count as a failure, and the table."""

import asyncio
import json
from typing import ClassVar

import pytest
from jupyter_client.manager import start_new_async_kernel
from jupyter_client.session import json_packer
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1

from benchmarks import hub_load
from benchmarks.hub_students import Failure, Kernel, Result, Student, positions

EXPLORER = """
from helpers import lab

class Line:
    def __init__(self, figure):
        self.line, = figure.subplots().plot([0, 1], [0, 1])
    def update(self, n, name):
        if n == 7:
            raise ArithmeticError("not seven")
        self.line.set_ydata([0, n])
        return f"{name} {n}"

lab.Explorer(Line, name=lab.choice("name", ["a", "b"]), n=lab.slider("n", 0, 9, 1, value=3))
"""


class Bridge:
    """Stands where Jupyter Server's websocket stands, between a `Kernel` and a real kernel."""

    def __init__(self, manager, client):
        self.manager, self.client = manager, client

    def write_message(self, raw, binary):
        assert binary
        channel, parts = deserialize_msg_from_ws_v1(raw)
        header, parent, metadata, content = map(json.loads, parts)
        message = {"header": header, "parent_header": parent, "metadata": metadata, "content": content, "buffers": []}
        message |= {"msg_id": header["msg_id"], "msg_type": header["msg_type"]}
        getattr(self.client, f"{channel}_channel").send(message)

    async def read_message(self):
        while await self.manager.is_alive():
            for channel in (self.client.iopub_channel, self.client.shell_channel):
                if await channel.msg_ready():
                    message = await channel.get_msg()
                    parts = [json_packer(message[k]) for k in ("header", "parent_header", "metadata", "content")]
                    return serialize_msg_to_ws_v1([*parts, *map(bytes, message["buffers"])], "iopub")
            await asyncio.sleep(0.005)
        return None


@pytest.fixture
def with_kernel(tmp_path):
    """Run a coroutine function on a `Kernel` that speaks to a real kernel."""

    async def run(work):
        manager, client = await start_new_async_kernel(cwd=str(tmp_path))
        kernel = Kernel()
        kernel.socket = Bridge(manager, client)
        kernel.reader = asyncio.create_task(kernel._read())
        try:
            await work(kernel)
        finally:
            kernel.reader.cancel()
            client.stop_channels()
            await manager.shutdown_kernel(now=True)

    return lambda work: asyncio.run(run(work))


def test_a_student_runs_cells_and_moves_a_slider(with_kernel):
    async def work(kernel):
        request = await kernel.execute(EXPLORER, 60)
        assert request.picture_at is not None
        (slider,) = kernel.sliders()
        state = kernel.widgets[slider]
        assert (state["_model_name"], state["description"], state["value"]) == ("IntSliderModel", "n", 3)
        before = {k: dict(widget) for k, widget in kernel.widgets.items()}
        assert 0 < await kernel.move(slider, {"value": 5}, 30) < 10
        captions = [w["value"] for k, w in kernel.widgets.items() if w != before[k] and w["_model_name"] == "HTMLModel"]
        assert any("a 5" in caption for caption in captions)
        with pytest.raises(Failure, match="ArithmeticError: not seven"):
            await kernel.move(slider, {"value": 7}, 30)
        with pytest.raises(Failure, match="ZeroDivisionError"):
            await kernel.execute("1 / 0", 30)
        with pytest.raises(Failure, match=r"no answer to a cell within 0\.3 s"):
            await kernel.execute("import time; time.sleep(1)", 0.3)
        with pytest.raises(Failure, match="the connection was closed"):
            await kernel.execute("import os; os._exit(1)", 30)

    with_kernel(work)


def test_what_fails_on_the_way_is_the_students_failure_and_ends_the_lesson(with_kernel):
    async def work(kernel):
        student = Student("http://127.0.0.1:1", "token", "anna", "a.ipynb", 30)
        student.kernel = kernel

        async def opened(_arrived):
            return ["1", "2 +", "3"]

        student._open = opened
        await student.attend()
        assert student.result.cells == 1
        assert student.result.run_all is None
        assert len(student.result.failures) == 1
        assert "SyntaxError" in student.result.failures[0]
        moves = []
        await student.move(3, 0, moves)
        assert not moves

    with_kernel(work)


def test_a_hub_that_does_not_answer_is_a_failure():
    student = Student("http://127.0.0.1:1", "token", "anna", "a.ipynb", 5)
    asyncio.run(student.attend())
    assert len(student.result.failures) == 1
    assert "refused" in student.result.failures[0]


@pytest.mark.parametrize("state", ["dead", "restarting"])
def test_a_kernel_that_dies_fails_whoever_waits(state):
    async def work():
        kernel = Kernel()
        kernel.socket = type("Deaf", (), {"write_message": lambda *_, **__: None})()
        asyncio.get_running_loop().call_later(0.05, kernel.receive, "status", None, {"execution_state": state})
        with pytest.raises(Failure, match="the kernel died"):
            await kernel.execute("1", 10)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("state", "count", "expected"),
    [
        ({"_model_name": "IntSliderModel", "min": 0, "max": 4, "step": 1, "value": 2}, 9, [0, 1, 3, 4]),
        ({"_model_name": "FloatSliderModel", "min": 1.0, "max": 2.0, "step": 0.25, "value": 1.0}, 2, [1.25, 2.0]),
        ({"_model_name": "SelectionSliderModel", "_options_labels": list("abcde"), "index": 4}, 3, [0, 2, 3]),
    ],
)
def test_a_drag_passes_the_whole_range_but_not_where_the_slider_stands(state, count, expected):
    found = positions(state, count)
    assert [value for move in found for value in move.values()] == expected
    assert {key for move in found for key in move} == {"index" if "index" in state else "value"}


class TestSummary:
    MEMORY: ClassVar = {"anna": {"server": 100.0, "kernel": 300.0}, "ben": {"server": 110.0, "kernel": 0.0}}

    def rows(self):
        anna = Result("anna", "a", 2.0, 4.0, 20.0, 30, [0.1, 0.2], [0.01 * k for k in range(1, 101)])
        ben = Result("ben", "b", 3.0, failures=["no answer"])
        gone = Result("cleo", "b", 3.0)
        return hub_load.summary([anna, ben, gone], self.MEMORY, [9000.0, 7000.0, 8000.0], 100) | {"hub_mb": 200.0}

    def test_numbers(self):
        found = self.rows()
        assert found["memory_mb"] == {"server": 105.0, "kernel": 150.0}
        assert found["machine_mb"] == 2000
        assert found["first_picture_s"] == {"median": 4.0, "max": 4.0}
        assert found["moves_s"]["p95"] == pytest.approx(0.9505)  # between the 95th and the 96th of 100
        assert found["busy_moves_s"]["p50"] == pytest.approx(0.15)
        assert found["missing_moves"] == 2 * 3 * 100 - 102

    def test_every_failure_counts_and_so_does_a_kernel_that_is_gone(self):
        assert self.rows()["failures"] == ["ben: no answer", "cleo: no kernel at the end"]

    def test_the_row_has_the_heads_columns(self):
        row = hub_load.row(self.rows())
        assert row == "| 3 | 105 + 150 | 200 | 2000 | 4 (4) | 20 (20) | 505 / 950 | 150 / 195 | 2 |"
        assert row.count("|") == hub_load.HEAD.splitlines()[0].count("|") == hub_load.HEAD.splitlines()[1].count("|")

    def test_nothing_measured_is_no_number(self):
        found = hub_load.summary([Result("anna", "a", failures=["x"])], {}, [1.0], 1) | {"hub_mb": 1.0}
        assert hub_load.row(found) == "| 1 | – + – | 1 | 0 | – (–) | – (–) | – / – | – / – | 1 |"


def test_the_test_only_differences_leave_the_rest_of_the_configuration(tmp_path, monkeypatch):
    from traitlets.config.loader import PyFileConfigLoader

    monkeypatch.setenv("HUB_STATE", str(tmp_path))
    (tmp_path / "class.txt").write_text("nobody\n")
    deployed = PyFileConfigLoader(str(hub_load.ROOT / "deploy/jupyterhub_config.py")).load_config()
    text = hub_load.TEST_ONLY.format(
        config=str(hub_load.ROOT / "deploy/jupyterhub_config.py"), homes="homes", port=1, hub_port=2, proxy_port=3,
        proxy="proxy", token="token",
    )  # fmt: skip
    (tmp_path / "config.py").write_text(text)
    tested = PyFileConfigLoader(str(tmp_path / "config.py")).load_config()
    assert tested.Spawner.pop("args") == [*deployed.Spawner.pop("args"), "--allow-root"]
    assert tested.Spawner == deployed.Spawner
    assert tested.JupyterHub.services[:1] == deployed.JupyterHub.services
    assert tested.JupyterHub.load_roles[:1] == deployed.JupyterHub.load_roles


def test_bad_use_is_said(capsys):
    with pytest.raises(SystemExit):
        hub_load.main(["--proxy", "/nowhere/proxy"])
    assert "no proxy at /nowhere/proxy" in capsys.readouterr().err
