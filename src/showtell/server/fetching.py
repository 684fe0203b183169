"""http(s) address of a stranger -> bytes, without lending the stranger this machine's place in its network.

Every address of the host must be public, and the connection goes to one of those that were checked, so that a name
which answers differently when asked again gains nothing. Redirects start from the beginning. Proxies of the environment
are not used: they would resolve the name themselves.
"""

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from ipaddress import ip_address
from urllib.parse import quote, urljoin, urlsplit

import h11

from showtell import __version__
from showtell.server.problems import Problem
from showtell.server.public_addresses import is_public

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Resolve = Callable[[str, int], Awaitable[list[str]]]  # host, port -> its IP addresses
# IP address, port, TLS or none, name of the host that TLS must prove -> an open connection
Connect = Callable[[str, int, ssl.SSLContext | None, str], Awaitable[Streams]]

_MAX_ADDRESS = 4096  # characters
_CHUNK = 1 << 16  # bytes
_TRIED = 3  # addresses of a host
_CONNECT_SECONDS = 4.0  # for each of them
_PORTS = {"http": 80, "https": 443}
_USER_PORTS = 1024  # below it lie mail, shells and the like, which have no pictures
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WITH_CONTENT = frozenset({200, 203})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_INSTEAD = "send the file itself"


@dataclass(frozen=True)
class _Place:
    """An address in parts, as it is asked for."""

    host: str  # a name or an IP address, ASCII, in lower case
    port: int
    secure: bool
    target: str  # path and query, quoted
    host_header: str


class Fetcher:
    """Fetches pictures. One for a server, as it bounds how many downloads run at a time."""

    def __init__(
        self,
        *,
        max_bytes: int,
        seconds: float = 10.0,
        redirects: int = 5,
        at_once: int = 8,
        resolve: Resolve | None = None,
        connect: Connect | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`seconds` is for all of one fetch: the wait for its turn, look-ups, redirects and the download.

        `resolve`, `connect` and `tls` stand in for the network in tests; addresses are checked all the same.
        """
        self._max_bytes, self._seconds, self._redirects = max_bytes, seconds, redirects
        self._turns = asyncio.Semaphore(at_once)
        self._resolve, self._connect = resolve or look_up, connect or open_connection
        self._given_tls = tls

    async def fetch(self, address: str) -> bytes:
        """The content behind an http or https address.

        Raises `Problem`: 400 for an address that is malformed or leads to a host that is not public, 413 for more than
        `max_bytes`, 502 where the other server fails, 504 where it takes too long. Neither tells what a name inside
        the network resolves to, or whether it does.
        """
        first = _parse(address).host
        try:
            async with asyncio.timeout(self._seconds), self._turns:
                for _ in range(self._redirects + 1):
                    place = _parse(address)
                    found = await self._get(place)
                    if isinstance(found, bytes):
                        return found
                    address = _follow(address, found)
        except TimeoutError as error:
            raise Problem(
                504, f"{first}: no picture within {self._seconds:g} seconds; {_INSTEAD}", reason="fetch_timeout"
            ) from error
        raise _failed(first, f"it leads on more than {self._redirects} times")

    async def _get(self, place: _Place) -> bytes | str:
        """The content, or the address that the server leads on to."""
        reader, writer = await self._open(place)
        try:
            return await _exchange(place, reader, writer, self._max_bytes)
        except (OSError, h11.ProtocolError) as error:
            raise _failed(place.host, "it breaks off or answers no proper HTTP") from error
        finally:
            writer.transport.abort()  # not `close`, which waits for a server that reads nothing

    async def _open(self, place: _Place) -> Streams:
        tls = self._tls if place.secure else None
        addresses = await self._checked(place)
        for address in addresses[:_TRIED]:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return await self._connect(address, place.port, tls, place.host)
            except ssl.SSLError as error:
                raise _failed(place.host, "its certificate does not prove its name, or TLS fails") from error
            except OSError:  # TimeoutError is one
                continue
        raise _failed(place.host, f"no connection at port {place.port}")

    async def _checked(self, place: _Place) -> list[str]:
        """The host's addresses, if every one of them is public."""
        try:
            addresses = await self._resolve(place.host, place.port)
        except (OSError, UnicodeError):
            addresses = []
        if not addresses or not all(map(is_public, addresses)):
            # One answer for both, so that nobody learns which names an inner network knows.
            raise Problem(
                400,
                f"{place.host}: is unknown, or not on the public internet; {_INSTEAD}",
                title="Address refused",
                reason="fetch_refused",
            )
        return addresses

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or ssl.create_default_context()


async def look_up(host: str, port: int) -> list[str]:
    """The IP addresses of a host, as this machine's resolver tells. Raises `OSError` where it knows none.

    Each asks in a thread of its own that nothing waits for: name servers of a stranger can stall for half a minute,
    which must hold up neither other work nor the server's end.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            told = partial(_settle, answer, list(dict.fromkeys(str(entry[4][0]) for entry in found)))
        except (OSError, UnicodeError) as error:
            told = partial(_settle, answer, error)
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(told)

    threading.Thread(target=ask, name="showtell-resolve", daemon=True).start()
    return await answer


def _settle(answer: asyncio.Future[list[str]], told: list[str] | Exception) -> None:
    if answer.done():  # nobody waits any more
        return
    if isinstance(told, Exception):
        answer.set_exception(told)
    else:
        answer.set_result(told)


async def open_connection(address: str, port: int, tls: ssl.SSLContext | None, host: str) -> Streams:
    """Connect to an IP address in digits. Nothing is sent before it is clear who answers.

    Raises `OSError` where nobody answers, or this machine itself does: what listens at its public address may be
    closed to the outside.
    """
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
        there, here = ip_address(connection.getpeername()[0]), ip_address(connection.getsockname()[0])
        if there != ip_address(address) or there == here:
            raise ConnectionRefusedError(f"{address}: answered by {there} to {here}")
        return await asyncio.open_connection(sock=connection, ssl=tls, server_hostname=host if tls else None)
    except BaseException:
        connection.close()
        raise


async def _exchange(
    place: _Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, max_bytes: int
) -> bytes | str:
    """Ask, and read the content, or the address in a redirect."""
    http = h11.Connection(h11.CLIENT)
    headers = [
        ("Host", place.host_header),
        ("User-Agent", f"showtell/{__version__}"),
        ("Accept", "image/*,*/*;q=0.5"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    for event in (h11.Request(method="GET", target=place.target, headers=headers), h11.EndOfMessage()):
        writer.write(http.send(event) or b"")
    content = bytearray()
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(await reader.read(_CHUNK))
            case h11.Response() as response:
                if location := _judge(response, place.host, max_bytes):
                    return location
            case h11.Data(data=data):
                content += data
                if len(content) > max_bytes:
                    raise _too_large(place.host, max_bytes)
            case h11.EndOfMessage():
                return bytes(content)


def _judge(response: h11.Response, host: str, max_bytes: int) -> str:
    """What a redirect leads on to; empty where content follows. Raises `Problem` where that is of no use."""
    fields = {bytes(name): bytes(value) for name, value in response.headers}
    if response.status_code in _REDIRECTS and b"location" in fields:
        return fields[b"location"].decode("utf-8", "surrogateescape")
    if response.status_code not in _WITH_CONTENT:
        raise _failed(host, f"it answers {response.status_code}")
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _failed(host, "it sends the picture compressed, though asked not to")
    if int(fields.get(b"content-length", b"0")) > max_bytes:
        raise _too_large(host, max_bytes)
    return ""


def _parse(address: str) -> _Place:
    """Raises `Problem` (400) where the address is malformed, or none that is ever fetched."""
    if len(address) > _MAX_ADDRESS or _CONTROL.search(address):
        raise _malformed(f"longer than {_MAX_ADDRESS} characters, or with control characters or backslashes")
    try:
        parts = urlsplit(address.strip())
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        if not host.isascii():
            host = host.encode("idna").decode("ascii").lower()
        target = quote((parts.path or "/") + ("?" + parts.query if parts.query else ""), safe="%/:=&?~+!$,;'@()*[]")
    except ValueError as error:  # UnicodeError is one
        raise _malformed("that cannot be taken apart") from error
    if parts.scheme not in _PORTS:
        raise _malformed("that is neither http nor https")
    if parts.username is not None or parts.password is not None:
        raise _malformed("with a user's name")
    literal = "[" in parts.netloc
    if not (_is_address_6(host) if literal else len(host) < 254 and _HOST.fullmatch(host)):
        raise _malformed("without a proper host")
    if port not in _PORTS.values() and port < _USER_PORTS:
        raise _malformed(f"with port {port}")
    name = f"[{host}]" if literal else host
    shown = name if port == _PORTS[parts.scheme] else f"{name}:{port}"
    return _Place(host, port, parts.scheme == "https", target if target.startswith("/") else "/" + target, shown)


def _follow(address: str, location: str) -> str:
    try:
        return urljoin(address, location)
    except ValueError as error:
        raise _malformed("that leads on to one that cannot be taken apart") from error


def _is_address_6(host: str) -> bool:
    try:
        return ip_address(host).version == 6 and "%" not in host  # behind it stands one of this machine's interfaces
    except ValueError:
        return False


def _malformed(found: str) -> Problem:
    return Problem(
        400,
        f"found an address {found}; expected one like https://host/picture.jpg, with port 80, 443 or above 1023",
        title="Address refused",
        reason="fetch_refused",
    )


def _failed(host: str, found: str) -> Problem:
    return Problem(502, f"{host}: {found}; check the address, or {_INSTEAD}", reason="fetch_failed")


def _too_large(host: str, limit: int) -> Problem:
    return Problem(413, f"{host}: more than the {limit} bytes allowed; make the picture smaller", reason="fetch_size")
