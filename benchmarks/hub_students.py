"""Simulated students for `hub_load`: each speaks to JupyterHub, a Jupyter server and a kernel as JupyterLab does."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from jupyter_client.session import Session, json_packer
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

PROTOCOL = "v1.kernel.websocket.jupyter.org"
SLIDERS = ("IntSliderModel", "FloatSliderModel", "SelectionSliderModel")
FAILED = "<b>This position failed."  # how an Explorer's caption begins when its picture raised


class Failure(Exception):
    """Something that a student would have noticed: an error, a dead kernel, no answer in time."""


@dataclass
class Request:
    """What is known about one message to the kernel; times by `time.perf_counter`."""

    sent: float
    idle: asyncio.Future
    reply: asyncio.Future
    picture_at: float | None = None  # the first picture that it caused, static or of a widget
    errors: list[str] = field(default_factory=list)


@dataclass
class Result:
    """One student's lesson, times in seconds since the arrival or for the step."""

    name: str
    notebook: str
    server: float | None = None
    first_picture: float | None = None
    run_all: float | None = None
    cells: int = 0
    busy_moves: list[float] = field(default_factory=list)  # while others may still run their notebooks
    moves: list[float] = field(default_factory=list)  # when everybody's notebook has run
    failures: list[str] = field(default_factory=list)


class Kernel:
    """A kernel at the other end of a websocket, and the widgets that it has made.

    Attributes
    ----------
    widgets : dict of str -> dict
        State of each widget by its comm's id, as the kernel sent it.
    """

    def __init__(self) -> None:
        self.session = Session()
        self.requests: dict[str, Request] = {}
        self.widgets: dict[str, dict[str, Any]] = {}
        self.socket = None
        self.reader: asyncio.Task | None = None

    async def connect(self, url: str, token: str) -> None:
        """Open the websocket of a kernel's ``channels`` and ask the kernel who it is."""
        request = HTTPRequest(url, headers={"Authorization": f"token {token}"}, connect_timeout=60)
        self.socket = await websocket_connect(request, subprotocols=[PROTOCOL], max_message_size=2**28)
        if self.socket.selected_subprotocol != PROTOCOL:
            raise Failure(f"the server speaks {self.socket.selected_subprotocol}, not {PROTOCOL}")
        self.reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Leave the kernel running, as a closed page does."""
        if self.reader is not None:
            self.reader.cancel()
            self.socket.close()

    def send(self, channel: str, kind: str, content: dict[str, Any]) -> Request:
        """Send a message; the request that collects its answers."""
        message = self.session.msg(kind, content)
        loop = asyncio.get_running_loop()
        request = Request(time.perf_counter(), loop.create_future(), loop.create_future())
        self.requests[message["msg_id"]] = request
        self.socket.write_message(serialize_msg_to_ws_v1(message, channel, json_packer), binary=True)
        return request

    async def execute(self, source: str, timeout: float) -> Request:
        """Run a cell as JupyterLab does.

        Raises
        ------
        Failure
            When the cell raises, the kernel dies or the cell is not done in time.
        """
        content = {"code": source, "silent": False, "store_history": True, "user_expressions": {}}
        request = self.send("shell", "execute_request", content | {"allow_stdin": False, "stop_on_error": True})
        await _in_time(asyncio.gather(request.reply, request.idle), timeout, "a cell")
        if request.errors:
            raise Failure(request.errors[0])
        return request

    async def move(self, widget: str, state: dict[str, Any], timeout: float) -> float:
        """Send what the page sends when a slider moves; seconds until the new picture is here.

        Where the picture is the same as before, the kernel sends none: then until it has nothing more to say.

        Raises
        ------
        Failure
            When the picture raises, the kernel dies or nothing comes in time.
        """
        data = {"method": "update", "state": state, "buffer_paths": []}
        request = self.send("shell", "comm_msg", {"comm_id": widget, "data": data})
        self.widgets[widget] |= state
        await _in_time(request.idle, timeout, "a move")
        if request.errors:
            raise Failure(request.errors[0])
        return (request.picture_at or time.perf_counter()) - request.sent

    def sliders(self) -> list[str]:
        """The first slider of each Explorer that has one, by its widget's id."""
        explorers = [state for state in self.widgets.values() if "movable-explorer" in state.get("_dom_classes", ())]
        found = [[k for k in self._inside(one) if self.widgets[k].get("_model_name") in SLIDERS] for one in explorers]
        return [sliders[0] for sliders in found if sliders]

    def _inside(self, state: dict[str, Any]) -> list[str]:
        children = [name.removeprefix("IPY_MODEL_") for name in state.get("children", ())]
        return [k for child in children if child in self.widgets for k in [child, *self._inside(self.widgets[child])]]

    async def _read(self) -> None:
        try:
            while (raw := await self.socket.read_message()) is not None:
                _channel, parts = deserialize_msg_from_ws_v1(raw)
                header, parent, _metadata, content = map(json.loads, parts[:4])
                self.receive(header["msg_type"], parent.get("msg_id"), content)
            self._fail("the connection was closed")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a message that cannot be read must not leave the student waiting
            self._fail(f"{type(error).__name__}: {error}")

    def receive(self, kind: str, parent: str | None, content: dict[str, Any]) -> None:
        """Note what a message from the kernel says."""
        request = self.requests.get(parent)
        if kind == "status" and content["execution_state"] in ("dead", "restarting", "autorestarting"):
            self._fail("the kernel died")
        elif kind == "comm_open":
            self.widgets[content["comm_id"]] = content["data"].get("state", {})
        elif kind == "comm_msg" and content["data"].get("method") == "update":
            state = content["data"]["state"]
            widget = self.widgets.setdefault(content["comm_id"], {})
            widget |= state
            if request is not None and widget.get("_model_name") == "ImageModel":
                request.picture_at = request.picture_at or time.perf_counter()
            if request is not None and FAILED in str(state.get("value", "")):
                request.errors.append(state["value"])
        elif request is None:
            return
        elif kind in ("display_data", "execute_result") and "image/png" in content["data"]:
            request.picture_at = request.picture_at or time.perf_counter()
        elif kind == "error":
            request.errors.append(f"{content['ename']}: {content['evalue']}")
        elif kind == "status" and content["execution_state"] == "idle" and not request.idle.done():
            request.idle.set_result(None)
        elif kind == "execute_reply" and not request.reply.done():
            if content["status"] != "ok" and not request.errors:
                request.errors.append(f"{content.get('ename', content['status'])}: {content.get('evalue', '')}")
            request.reply.set_result(None)

    def _fail(self, why: str) -> None:
        for request in self.requests.values():
            for future in (request.idle, request.reply):
                if not future.done():
                    future.set_exception(Failure(why))
                    future.exception()  # seen here: not every future is awaited


async def _in_time(work: Any, timeout: float, what: str) -> None:
    try:
        await asyncio.wait_for(work, timeout)
    except TimeoutError:
        raise Failure(f"no answer to {what} within {timeout:g} s") from None


def positions(state: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """States that a drag over a slider's whole range passes, at most `count`, without the one where it stands."""
    if state["_model_name"] == "SelectionSliderModel":
        key, grid = "index", list(range(len(state["_options_labels"])))
    else:
        steps = round((state["max"] - state["min"]) / state["step"])
        key, grid = "value", [state["min"] + k * state["step"] for k in range(steps + 1)]
    grid = [value for value in grid if value != state[key]]
    chosen = sorted({round(k * (len(grid) - 1) / max(1, count - 1)) for k in range(count)})
    return [{key: grid[k]} for k in chosen]


class Student:
    """One simulated student: logs in, opens a notebook, runs all of it, moves the sliders.

    Parameters
    ----------
    hub : str
        Base URL of JupyterHub, without a slash at the end.
    admin_token : str
        May start servers and issue tokens.
    name, notebook : str
        The student's name and the notebook's path below the home folder.
    timeout : float
        Seconds that a student waits for a server, a cell or a move before it counts as a failure.
    """

    def __init__(self, hub: str, admin_token: str, name: str, notebook: str, timeout: float) -> None:
        self.hub, self.admin_token, self.timeout = hub, admin_token, timeout
        self.result = Result(name, notebook)
        self.kernel = Kernel()

    async def fetch(self, path: str, token: str, method: str = "GET", body: Any = None) -> Any:
        """A request to the hub or to the student's server; what its JSON says, or the text."""
        answer = await AsyncHTTPClient().fetch(
            self.hub + path, method=method, headers={"Authorization": f"token {token}"},
            body=None if method == "GET" else json.dumps(body or {}), request_timeout=self.timeout, connect_timeout=60,
        )  # fmt: skip
        return json.loads(answer.body) if "json" in answer.headers.get("Content-Type", "") else answer.body

    async def attend(self) -> None:
        """Everything up to the last cell; what goes wrong is in `result.failures`."""
        arrived = time.perf_counter()
        try:
            sources = await self._open(arrived)
            for source in sources:
                request = await self.kernel.execute(source, self.timeout)
                self.result.cells += 1
                if self.result.first_picture is None and request.picture_at is not None:
                    self.result.first_picture = request.picture_at - arrived
            self.result.run_all = time.perf_counter() - arrived
        except (Failure, HTTPClientError, OSError, TimeoutError) as error:
            self.result.failures.append(f"{type(error).__name__}: {error}")

    async def _open(self, arrived: float) -> list[str]:
        user = f"/user/{self.result.name}"
        await self.fetch(f"/hub/api/users/{self.result.name}", self.admin_token, "POST")
        await self.fetch(f"/hub/api/users/{self.result.name}/server", self.admin_token, "POST")
        while True:
            model = await self.fetch(f"/hub/api/users/{self.result.name}", self.admin_token)
            if (model.get("servers") or {}).get("", {}).get("ready"):
                break
            if time.perf_counter() > arrived + self.timeout:
                raise Failure(f"no server within {self.timeout:g} s")
            await asyncio.sleep(0.5)
        self.result.server = time.perf_counter() - arrived
        token = (await self.fetch(f"/hub/api/users/{self.result.name}/tokens", self.admin_token, "POST"))["token"]
        path = quote(self.result.notebook)
        await self.fetch(f"{user}/lab/tree/{path}", token)
        notebook = (await self.fetch(f"{user}/api/contents/{path}", token))["content"]
        session = await self.fetch(
            f"{user}/api/sessions", token, "POST",
            {"path": self.result.notebook, "name": "", "type": "notebook", "kernel": {"name": "python3"}},
        )  # fmt: skip
        url = f"{self.hub.replace('http', 'ws', 1)}{user}/api/kernels/{session['kernel']['id']}/channels"
        url += f"?session_id={self.kernel.session.session}"
        await self.kernel.connect(url, token)
        sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        return [source for source in sources if source.strip()]

    async def move(self, count: int, think: float, into: list[float]) -> None:
        """Move the first slider of each Explorer in turn, `count` moves in all, `think` s apart on average."""
        if self.result.failures:
            return
        pauses = random.Random(self.result.name)
        sliders = self.kernel.sliders()
        if not sliders:
            self.result.failures.append("no Explorer has a slider")
            return
        drags = {k: positions(self.kernel.widgets[k], -(-count // len(sliders))) for k in sliders}
        for number in range(count):
            await asyncio.sleep(pauses.uniform(0.5, 1.5) * think)
            slider = sliders[number % len(sliders)]
            drag = drags[slider]
            try:
                state = drag[number // len(sliders) % len(drag)]
                into.append(await self.kernel.move(slider, state, self.timeout))
            except Failure as error:
                self.result.failures.append(str(error))
                return
