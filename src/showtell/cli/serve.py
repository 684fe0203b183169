"""`showtell serve`: captions over HTTP, and a page."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import click

from showtell.errors import MissingExtraError, ServeError
from showtell.model_folder import EMBEDDED, find_bundle, is_embedded
from showtell.server.options import ServeOptions

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.+)", re.DOTALL)
_NEEDED = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")
_DEFAULTS = ServeOptions()


@click.command()
@click.argument("models", nargs=-1, metavar="[NAME=][BUNDLE|RUN]...")
@click.option("--host", default=_DEFAULTS.host, show_default=True, help="Address to listen at; 0.0.0.0 is all.")
@click.option("--port", type=click.IntRange(0, 65535), default=_DEFAULTS.port, show_default=True, help="0: any.")
@click.option(
    "--tutorial-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="A second port, for clients of the tutorials that ask at 8081.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option("--threads", type=click.IntRange(1, 256), help="Of each worker.  [default: all, at most 4, shared out]")
@click.option("--batch", type=click.IntRange(1, 256), default=_DEFAULTS.batch, show_default=True, help="Pictures.")
@click.option(
    "--batch-ms",
    type=click.FloatRange(0, 1000),
    default=_DEFAULTS.batch_ms,
    show_default=True,
    help="How long a picture waits for others to share a batch with.",
)
@click.option(
    "--queue",
    type=click.IntRange(min=1),
    default=_DEFAULTS.queue,
    show_default=True,
    help="Pictures in work, of each worker; more are answered 503.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0.01, 3600),
    default=_DEFAULTS.deadline_s,
    show_default=True,
    metavar="SECONDS",
    help="For each request.",
)
@click.option("--allow-url-fetch", is_flag=True, help="Fetch pictures by address, from public hosts only.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name under which the server is reached; * is any.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Ask for a key: one of the lines of this file.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 1_000_000),
    default=0.0,
    metavar="N",
    help="Requests a minute, for each key or address and worker.  [default: no limit]",
)
@click.option(
    "--trusted-proxy",
    multiple=True,
    default=_DEFAULTS.trusted_proxies,
    show_default=True,
    metavar="IP",
    help="A proxy whose X-Forwarded-For is believed, or a network of them.",
)
def command(
    models: tuple[str, ...],
    host: str,
    port: int,
    tutorial_port: int | None,
    workers: int,
    threads: int | None,
    batch: int,
    batch_ms: float,
    queue: int,
    deadline: float,
    allow_url_fetch: bool,
    allow_host: tuple[str, ...],
    api_key_file: Path | None,
    rate: float,
    trusted_proxy: tuple[str, ...],
) -> int:
    """Serve captions over HTTP, with a page at /.

    Without a model the embedded one is served. Several are told apart by name: that of their folder, or NAME=PATH; the
    first is the default. Ends at SIGTERM or Ctrl-C, when the requests at hand are answered.
    """
    named = _named(models)
    try:
        options = ServeOptions(
            host=host,
            port=port,
            tutorial_port=tutorial_port,
            workers=workers,
            threads=threads or 0,
            batch=batch,
            batch_ms=batch_ms,
            queue=queue,
            deadline_s=deadline,
            allow_url_fetch=allow_url_fetch,
            allowed_hosts=tuple(name.lower() for name in allow_host),
            api_keys=_keys(api_key_file) if api_key_file else (),
            rate=rate,
            trusted_proxies=trusted_proxy,
        )
    except ServeError as error:
        raise click.UsageError(str(error)) from error
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise MissingExtraError(f"`showtell serve` needs {', '.join(missing)}: pip install 'showtell[serve]'")
    return _serve(options, named)


def _serve(options: ServeOptions, named: dict[str, Path | None]) -> int:
    from showtell.server.logs import LOGGER, set_up

    paths = {name: find_bundle(path) for name, path in named.items()}
    from showtell.server.sockets import addresses, open_sockets

    sockets = open_sockets(options)
    where = addresses(sockets)
    set_up()
    if not options.api_keys and options.host not in ("127.0.0.1", "::1", "localhost"):
        LOGGER.warning({"event": "open", "message": f"anyone who reaches {options.host} may ask: no --api-key-file"})

    def started() -> None:
        for address in where:
            click.echo(f"showtell serves {', '.join(paths)} at {address}")

    if options.workers == 1:
        from showtell.server.run import run

        run(options, paths, sockets, started)
        return 0
    from showtell.server.workers import Workers

    return Workers(options, paths, sockets, started).run()


def _named(models: tuple[str, ...]) -> dict[str, Path | None]:
    """Models by name; None is the embedded one."""
    named: dict[str, Path | None] = {}
    for text in models:
        match = None if Path(text).exists() else _NAMED.fullmatch(text)
        path = Path(match[2] if match else text)
        name = match[1] if match else (EMBEDDED if is_embedded(path) else path.resolve()).name
        if name in named:
            raise click.UsageError(f"two models are called {name!r}; name them: NAME={path}")
        named[name] = path
    return named or {EMBEDDED.name: None}


def _keys(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--api-key-file {file}: cannot be read; give a text file, one key a line") from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise click.UsageError(f"--api-key-file {file}: holds no key, expected one a line")
    return keys
