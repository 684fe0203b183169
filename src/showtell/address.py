"""http(s) address -> bytes, with a limit on time and size. The standard library only, no other scheme."""

import re
import time
from http.client import HTTPException
from typing import IO, Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from showtell import __version__
from showtell.errors import ImageError
from showtell.names import printable

_CHUNK = 1 << 16  # bytes
_REDIRECT = re.compile(r"https?://", re.IGNORECASE)


class _Redirect(request.HTTPRedirectHandler):
    """Follows to http and https only: the standard handler would also go on to ftp."""

    def redirect_request(
        self, req: request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> request.Request | None:
        if not _REDIRECT.match(newurl):
            fp.close()
            raise URLError(f"it leads on to {newurl!r}, which is neither http nor https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(address: str, *, max_bytes: int, timeout: float) -> bytes:
    """The content behind an http or https address.

    `timeout` is in seconds, for each wait and for the whole download. Raises `ImageError` where the server fails,
    takes too long, or sends more than `max_bytes`.
    """
    name = printable(address)
    deadline = time.monotonic() + timeout
    try:
        # Characters outside ASCII and blanks are what people paste; a request line needs them quoted.
        quoted = quote(address, safe="%/:=&?~#+!$,;'@()*[]")
        ask = request.Request(quoted, headers={"User-Agent": f"showtell/{__version__}", "Accept": "image/*,*/*;q=0.5"})
        with opener().open(ask, timeout=timeout) as answer:
            content = bytearray()
            while chunk := answer.read1(_CHUNK):
                content += chunk
                if len(content) > max_bytes:
                    raise ImageError(
                        f"{name}: more than the {max_bytes} bytes allowed; fetch it yourself, make it smaller"
                    )
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not finished after {timeout:g} seconds")
            expected = answer.headers.get("Content-Length")
            if expected and expected.isdigit() and len(content) < int(expected):
                raise HTTPException(f"{len(content)} of {expected} bytes came")
            return bytes(content)
    except HTTPError as error:
        error.close()
        raise ImageError(f"{name}: the server answers {error.code} ({reason_of(error)}); check the address") from error
    except (OSError, HTTPException, ValueError) as error:
        raise ImageError(
            f"{name}: cannot be fetched ({reason_of(error)}); check the address and the network"
        ) from error


def reason_of(error: Exception) -> str:
    """What went wrong with a connection, in one line."""
    reason = getattr(error, "reason", error)
    return printable((str(reason).splitlines() or [type(reason).__name__])[0])


def opener() -> request.OpenerDirector:
    """An opener that knows http and https and nothing else: no file:, no ftp:, no data:."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.UnknownHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        _Redirect(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
