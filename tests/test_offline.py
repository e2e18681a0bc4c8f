"""The suite runs without a network: the rule itself is tested in this process, in a child and in a Jupyter kernel."""

import socket
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ELSEWHERE = "192.0.2.1"  # TEST-NET-1 of RFC 5737: routed nowhere
CONNECT = f"import socket; socket.create_connection(({ELSEWHERE!r}, 80), timeout=2)"


@pytest.fixture
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        yield sender


@pytest.mark.parametrize("address", [(ELSEWHERE, 80), ("2001:db8::1", 80, 0, 0)])
def test_no_connection_leaves_this_process(address):
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as connection:
        connection.settimeout(2)
        with pytest.raises(OSError, match="the tests run offline"):
            connection.connect(address)
        with pytest.raises(OSError, match="the tests run offline"):
            connection.connect_ex(address)


def test_no_datagram_leaves(udp):
    with pytest.raises(OSError, match="the tests run offline"):
        udp.sendto(b"", (ELSEWHERE, 9))
    with pytest.raises(OSError, match="the tests run offline"):
        udp.sendmsg([b""], [], 0, (ELSEWHERE, 9))


@pytest.mark.parametrize(
    "look_up",
    [
        lambda: socket.getaddrinfo("example.org", 80),
        lambda: socket.getaddrinfo(b"example.org", 80),
        lambda: socket.getaddrinfo("127.0.0.1.example.org", 80),
        lambda: socket.gethostbyname("example.org"),
        lambda: socket.gethostbyname_ex("example.org"),
        lambda: socket.gethostbyaddr(ELSEWHERE),
        lambda: socket.getnameinfo((ELSEWHERE, 80), 0),
    ],
)
def test_no_name_is_looked_up(look_up):
    with pytest.raises(OSError, match="the tests run offline"):
        look_up()


def test_this_machine_can_be_reached(udp, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            with socket.create_connection((host, port), timeout=2) as client:
                client.sendall(b"here")
                accepted, _ = server.accept()
                with accepted:
                    assert accepted.recv(4) == b"here"
    udp.sendto(b"", ("127.0.0.1", 9))
    socket.getaddrinfo(None, 0)
    socket.getaddrinfo(socket.gethostname(), 0)


def test_unix_sockets_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the whole path may be too long for a socket's name
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("here")
        server.listen()
        client.connect("here")


def test_no_connection_leaves_a_child_process():
    child = subprocess.run([sys.executable, "-c", CONNECT], capture_output=True, text=True, timeout=60)
    assert child.returncode == 1
    assert "the tests run offline: socket.getaddrinfo to '192.0.2.1' refused" in child.stderr


def test_no_connection_leaves_a_kernel():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CONNECT)])
    with pytest.raises(CellExecutionError, match="the tests run offline"):
        NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
