"""What the server writes to standard error: one JSON object a line. Never a picture, an address, a key or a query."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

# They tell what strangers send.
_QUIET = (("python_multipart", "CRITICAL"), ("PIL", "CRITICAL"), ("py.warnings", "ERROR"), ("asyncio", "ERROR"))
LOGGER = logging.getLogger("showtell.server")


class JsonLines(logging.Formatter):
    """Records as JSON; a mapping given as the message becomes the object's own keys."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
        }
        if isinstance(record.msg, Mapping):
            line |= record.msg
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up(level: str = "info") -> None:
    """Send what the server and uvicorn tell to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if not isinstance(one.formatter, JsonLines)] + [handler]
    for name, its_level in (("showtell.server", level.upper()), ("uvicorn.error", "ERROR"), *_QUIET):
        logging.getLogger(name).setLevel(its_level)
