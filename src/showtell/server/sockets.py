"""Where the server listens. Light: a port that is taken is told before anything heavy is loaded."""

import errno
import socket
import sys
import time
from collections.abc import Sequence

from showtell.errors import ServeError
from showtell.server.options import ServeOptions

BACKLOG = 1024  # connections that wait to be accepted
# Always named: asyncio sends small answers at once only where it sees TCP; elsewhere they wait 40 ms, until the client
# acknowledges their head.
_TCP = socket.IPPROTO_TCP
_BIND_S = 2.0  # seconds in which the workers of a server that was killed let go of its port


def open_sockets(options: ServeOptions) -> list[socket.socket]:
    """Listen at the port, and at the tutorial's if one is set. Raises `ServeError` where that cannot be."""
    ports = [options.port] + ([] if options.tutorial_port is None else [options.tutorial_port])
    opened: list[socket.socket] = []
    try:
        opened.extend(_listen(options.host, port) for port in ports)
    except ServeError:
        for one in opened:
            one.close()
        raise
    return opened


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise ServeError(f"host {host}: no such address ({error.strerror}); give one of this machine") from error
    until = time.monotonic() + _BIND_S
    while True:
        opened = socket.socket(family, socket.SOCK_STREAM, _TCP)
        try:
            if sys.platform != "win32":  # there the option would let two servers share a port
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen(BACKLOG)
            return opened
        except OSError as error:
            opened.close()
            if error.errno == errno.EADDRINUSE and time.monotonic() < until:
                time.sleep(0.05)
                continue
            raise ServeError(
                f"cannot listen at {host} port {port} ({error.strerror}); choose another with --host and --port"
            ) from error


def inherited(handle: int) -> socket.socket:
    """A socket that another process opened, by its number here."""
    found = socket.socket(fileno=handle)
    return socket.socket(found.family, found.type, _TCP, found.detach())


def addresses(sockets: Sequence[socket.socket]) -> list[str]:
    """Where to reach them, for people."""
    told = []
    for one in sockets:
        host, port = one.getsockname()[:2]
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)
        told.append(f"http://{host}:{port}/")
    return told
