"""How the server is set up. Light: the command line reads it before anything heavy is loaded."""

import ipaddress
import re
from dataclasses import dataclass, field

from showtell.errors import ServeError


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Everything that a server may be told. Raises `ServeError` where a value is impossible."""

    host: str = "127.0.0.1"  # address that is listened at
    port: int = 8000  # 0: any that is free
    tutorial_port: int | None = None  # a second port, for clients of the tutorial that expect 8081
    workers: int = 1  # processes
    threads: int = 0  # of ONNX Runtime, in each worker; 0: min(cores, 4) / workers
    batch: int = 16  # pictures that are encoded together, at most
    batch_ms: float = 4.0  # how long the first of a batch waits for others, milliseconds
    queue: int = 128  # pictures received, waiting or in work, in each worker; more are answered 503
    queue_bytes: int = 256 * 1024 * 1024  # of the bodies of all requests in work, in each worker
    deadline_s: float = 30.0  # from a request's head to its answer, seconds; then 504
    receive_s: float = 10.0  # for the body of a request, seconds; then 408
    max_body_bytes: int = 20_000_000  # of a request
    max_pixels: int = 50_000_000  # of a picture, width times height
    max_pictures: int = 16  # of a request
    allow_url_fetch: bool = False  # whether pictures are fetched by address
    allowed_hosts: tuple[str, ...] = ()  # names in Host beside localhost and plain IP addresses; "*": any
    api_keys: tuple[str, ...] = field(default=(), repr=False)  # none: no key is asked for
    rate: float = 0.0  # requests a minute for each key or address; 0: no limit
    trusted_proxies: tuple[str, ...] = ("127.0.0.1",)  # addresses or networks whose X-Forwarded-For is believed

    def __post_init__(self) -> None:
        for name, lowest, highest in _RANGES:
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                raise ServeError(f"{name} is {value:g}, expected {lowest:g} to {highest:g}")
        if not self.host:
            raise ServeError("host is empty, expected an address such as 127.0.0.1 or 0.0.0.0")
        if self.tutorial_port is not None and self.tutorial_port == self.port != 0:
            raise ServeError(f"tutorial_port is {self.port} like port; choose another")
        if self.queue < self.max_pictures:
            raise ServeError(f"queue is {self.queue}, expected {self.max_pictures} or more, as many as one request has")
        if self.queue_bytes < self.max_body_bytes:
            raise ServeError(f"queue_bytes is {self.queue_bytes}, less than max_body_bytes {self.max_body_bytes}")
        if any(not key or not key.isascii() or not key.isprintable() or " " in key for key in self.api_keys):
            raise ServeError("an API key is empty or holds blanks or characters beyond ASCII; write plain ones")
        for name in self.allowed_hosts:
            if name != "*" and not _NAME.fullmatch(name):
                raise ServeError(f"allowed host {name!r} is no name of a host; leave out scheme, port and path")
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ServeError(f"trusted proxy {proxy!r} is no address or network such as 10.0.0.0/8") from error


_NAME = re.compile(r"[A-Za-z0-9._-]+")
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("port", 0, 65535),
    ("tutorial_port", 0, 65535),
    ("workers", 1, 64),
    ("threads", 0, 256),
    ("batch", 1, 256),
    ("batch_ms", 0, 1000),
    ("queue", 1, 100_000),
    ("deadline_s", 0.01, 3600),
    ("receive_s", 0.01, 3600),
    ("max_body_bytes", 1024, 2**31),
    ("max_pixels", 1, 500_000_000),
    ("max_pictures", 1, 1024),
    ("rate", 0, 1_000_000),
)
