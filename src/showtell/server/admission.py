"""What stands before every route, and decides from a request's head alone whether its body is read.

In this order: the name in Host, the origin of a page that asks, the key, the rate, the size, a place in the queue.
"""

import hashlib
import hmac
import ipaddress
import math
import re
import secrets
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from showtell.server.dialects import answer_in_dialect
from showtell.server.exchange import ClientGoneError, Exchange, too_large
from showtell.server.logs import LOGGER
from showtell.server.options import ServeOptions
from showtell.server.problems import Problem
from showtell.server.rate import RateLimit
from showtell.server.service import Service

# Paths that cost something or tell something: they need a key where keys are set, and count for the rate.
GUARDED = ("/v1/", "/model/", "/wowme", "/metrics")
# Of every answer, unless the route says something else of the same name.
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
}
DISCARDED = 4  # times `max_body_bytes`: of a refused request so much is read away, so that the client reads the answer
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_GONE = 499  # in logs and counts: the client went away before the answer (nginx's number)


class Admission:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service, self._options = app, service, service.options
        self._keys = [_digest(key) for key in service.options.api_keys]
        self._rate = RateLimit(service.options.rate) if service.options.rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        headers = Headers(scope=scope)
        asked_id = headers.get("x-request-id", "")
        state = scope.setdefault("state", {})
        state["request_id"] = asked_id if _REQUEST_ID.fullmatch(asked_id) else secrets.token_hex(8)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._complete(message, state["request_id"])
            await send(message)

        exchange = Exchange(self._app, self._options, scope, receive, answer)
        try:
            await self._admitted(scope, headers, exchange)
        except ClientGoneError:
            status, state["reason"] = _GONE, "client_gone"
        except Exception as error:
            problem = error if isinstance(error, Problem) else self._unexpected(error, state)
            state["reason"] = problem.reason
            if status:  # the answer has begun: all that is left is to break it off
                raise BrokenOffError from None
            if not exchange.received and _much_to_discard(headers, self._options):
                problem.headers["Connection"] = "close"
            await answer_in_dialect(scope["path"], problem)(scope, receive, answer)
        finally:
            self._record(scope, status, exchange.received, time.monotonic() - began)

    async def _admitted(self, scope: Scope, headers: Headers, exchange: Exchange) -> None:
        path, method = scope["path"], scope["method"]
        self._check_host(headers)
        self._check_origin(headers)
        if path.startswith(GUARDED):
            client = self._check_key(headers) or (scope.get("client") or ["unknown"])[0]
            self._check_rate(client)
        size = _body_size(headers, self._options)
        has_body = size > 0
        if method in ("POST", "PUT", "PATCH") or path == "/wowme":
            with self._service.slots.request(size):
                await exchange.run(has_body=has_body)
        else:
            await exchange.run(has_body=has_body)

    def _check_host(self, headers: Headers) -> None:
        """A page of a stranger whose name was led to this address must not talk to us: only known names are."""
        allowed = self._options.allowed_hosts
        host = headers.get("host", "")
        named = _HOST.fullmatch(host)
        name = (named[1] or named[2]).lower() if named else ""
        if "*" in allowed or (name and (name == "localhost" or name in allowed or _is_address(name))):
            return
        raise Problem(
            421,
            "the name in Host is not served here; use the address or localhost, or start with --allow-host NAME",
            title="Unknown host",
            reason="host",
        )

    def _check_origin(self, headers: Headers) -> None:
        """Pages of other sites must not let their visitors' browsers work here."""
        site = headers.get("sec-fetch-site")  # what browsers say, and no script can change
        if site:
            ours = site in ("same-origin", "none") or headers.get("sec-fetch-mode") == "navigate"
        else:
            origin = headers.get("origin", "")
            ours = not origin or origin.partition("://")[2].lower() == headers.get("host", "").lower()
        if not ours:
            raise Problem(403, "asked by a page of another site; ask from your own server instead", reason="origin")

    def _check_key(self, headers: Headers) -> str:
        """Who asks, by key; "" where none are set."""
        if not self._keys:
            return ""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = _digest(bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", ""))
        # All are compared, whichever fits: the time tells nothing.
        if not sum(hmac.compare_digest(given, key) for key in self._keys):
            raise Problem(
                401,
                "send a key: Authorization: Bearer KEY, or X-API-Key: KEY",
                title="No valid key",
                headers={"WWW-Authenticate": "Bearer"},
                reason="key",
            )
        return given.hex()

    def _check_rate(self, client: str) -> None:
        seconds = self._rate.wait(client) if self._rate else 0
        if seconds:
            raise Problem(
                429,
                f"more than {self._options.rate:g} requests a minute; wait",
                headers={"Retry-After": str(int(seconds) + 1)},
                reason="rate",
            )

    def _complete(self, message: Message, request_id: str) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in SECURITY.items():
            headers.setdefault(name, value)
        headers["X-Request-ID"] = request_id

    def _unexpected(self, error: Exception, state: dict[str, Any]) -> Problem:
        LOGGER.error({"event": "failed", "request_id": state["request_id"]}, exc_info=error)
        return Problem(500, f"the server failed; its log has more under {state['request_id']}", reason="failed")

    def _record(self, scope: Scope, status: int, received: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        state = scope["state"]
        metrics = self._service.metrics
        metrics.requests.labels(route, method, str(status)).inc()
        metrics.stages["request"].observe(seconds)
        line = {
            "event": "request",
            "request_id": state["request_id"],
            "client": (scope.get("client") or [None])[0],
            "method": method,
            "path": scope["path"][:200],
            "status": status,
            "ms": round(1000 * seconds, 1),
            "bytes_in": received,
        }
        if reason := state.get("reason"):
            metrics.failures.labels(reason).inc()
            line["reason"] = reason
        LOGGER.info(line)


class BrokenOffError(Exception):
    """An answer that had begun and cannot be finished; the connection is closed."""


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def _body_size(headers: Headers, options: ServeOptions) -> int:
    """How many bytes the body may have, by its head. Raises `Problem` (413)."""
    if "transfer-encoding" in headers:
        return options.max_body_bytes
    size = _content_length(headers)
    if size > options.max_body_bytes:
        raise too_large(options)
    return int(size)


def _much_to_discard(headers: Headers, options: ServeOptions) -> bool:
    return "transfer-encoding" in headers or _content_length(headers) > DISCARDED * options.max_body_bytes


def _content_length(headers: Headers) -> float:
    """Bytes; infinity where it makes no sense."""
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else math.inf


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
