"""Refuse every connection and name look-up that would leave this machine.

Python imports a module of this name when it starts, so with this folder on PYTHONPATH the rule holds in every Python
process started from then on, Jupyter kernels included. In the process that is running already::

    runpy.run_path("tests/offline/sitecustomize.py", run_name="sitecustomize")

An audit hook cannot be removed again, and no library can go round it through Python's ``socket``. Sockets that compiled
code opens for itself (ZeroMQ, Gloo, a browser) raise no audit event and are not seen.
"""

import sys

ASKED = {"socket.connect", "socket.sendto", "socket.sendmsg"}  # event arguments: the socket, the address
LOOKED_UP = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}


def stays_here(host: object) -> bool:
    """Whether a host name or address means this machine; None and the empty string are what a server binds to."""
    import ipaddress  # here and not above: most processes never open a socket
    import socket

    name = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse(event: str, arguments: tuple) -> None:
    """Audit hook: raise ConnectionRefusedError for an address elsewhere."""
    if event in ASKED:
        import socket

        connection, address = arguments
        if address is None or connection.family == socket.AF_UNIX:
            return
        host = address[0]
    elif event in LOOKED_UP:
        host = arguments[0][0] if event == "socket.getnameinfo" else arguments[0]
    else:
        return
    if not stays_here(host):
        raise ConnectionRefusedError(
            f"the tests run offline: {event} to {host!r} refused, only this machine is allowed"
        )


if __name__ == "sitecustomize":
    sys.addaudithook(refuse)
    # Nothing to do with the network, but this runs first everywhere: whoever imports nbformat imports jsonschema, and
    # that takes 1.3 s to compile the grammars of this package. It is optional, and for the format "iri" alone, which
    # no schema of a notebook has.
    sys.modules["rfc3987_syntax"] = None
