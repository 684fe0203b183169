"""The whole server on a free loopback port, in a thread of this process."""

import threading
import time
from contextlib import contextmanager

import uvicorn


@contextmanager
def live_server(app):
    """Gives the address of `app`, such as "http://127.0.0.1:34567", while it runs."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
