"""A web server on this machine that answers with the very bytes it is told, and an internet of names that lead to it.

`resolve` and `connect` are what `Fetcher` takes in place of the network.
"""

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PUBLIC = "93.184.215.14"


def answer(body=b"", *, status="200 OK", **headers) -> bytes:
    """A whole HTTP answer; a header that is None is left out."""
    fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str) -> bytes:
    return answer(status="302 Found", Location=location)


@dataclass
class Site:
    """`pages` maps paths to answers; one that is a tuple is sent piece by piece, and then nothing more comes."""

    pages: dict[str, bytes | tuple[bytes, ...]] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)  # host -> its IP addresses
    dead: set[str] = field(default_factory=set)  # IP addresses where nobody answers
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # path and headers of each request
    resolved: list[str] = field(default_factory=list)  # host of each look-up
    connected: list[tuple[str, int, str]] = field(default_factory=list)  # IP address, port and TLS name of each
    left: int = 0  # clients that went before they had all
    port: int = 0

    async def resolve(self, host, port):
        self.resolved.append(host)
        if host not in self.names:
            raise OSError(f"no such host: {host}")
        return self.names[host]

    async def connect(self, address, port, tls, host):
        if address in self.dead:
            raise ConnectionRefusedError(address)
        self.connected.append((address, port, host))
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=tls, server_hostname=host if tls else None)

    async def connect_once(self, address, port, tls, host):
        """As `connect`, without TLS, and on whatever event loop asks: the server lives for this connection alone."""
        listening = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        streams = await self.connect(address, port, None, host)
        listening.close()
        return streams

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
            path = head[0].split(" ")[1]
            self.asked.append((path, dict(line.split(": ", 1) for line in head[1:] if line)))
            page = self.pages.get(path, answer(status="404 Not Found"))
            for piece in page if isinstance(page, tuple) else [page]:
                writer.write(piece)
                await writer.drain()
            if isinstance(page, tuple):
                await reader.read()  # ends when the client goes
                self.left += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort() if isinstance(page, tuple) else writer.close()


@asynccontextmanager
async def scripted_site(tls: ssl.SSLContext | None = None, **fields):
    """A running `Site`."""
    site = Site(**fields)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        await server.wait_closed()
