"""`showtell serve` as a process of its own."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass

from server_pictures import data_address

BODY = json.dumps({"image": data_address("red")}).encode()
PATIENCE = 60  # seconds: other programs may use the processor


@dataclass
class Served:
    """A running server: its process and what its first lines told."""

    process: subprocess.Popen
    lines: list[str]

    @property
    def ports(self):
        return [int(re.search(r":(\d+)/", line)[1]) for line in self.lines]

    def ask(self, port=None):
        with contextlib.closing(self.connection(port)) as connection:
            connection.request("POST", "/v1/captions", BODY, {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())["results"][0]["captions"][0]["caption"]

    def connection(self, port=None):
        return http.client.HTTPConnection("127.0.0.1", port or self.ports[0], timeout=PATIENCE)


@contextlib.contextmanager
def served(*arguments, ports=1, patience=PATIENCE, log=subprocess.DEVNULL):
    """A server in a process of its own; killed at the end if it still runs. Its log goes to the open file `log`."""
    command = [sys.executable, "-m", "showtell", "serve", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": log}
    process = subprocess.Popen(command, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes)
    killer = threading.Timer(patience, process.kill)
    killer.start()
    try:
        yield Served(process, [process.stdout.readline() for _ in range(ports)])
    finally:
        killer.cancel()
        process.kill()
        process.communicate()
