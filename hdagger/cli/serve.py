"""``hdagger serve``: a page to paint on, and REST beneath it."""

import socket
import tempfile
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ..errors import FileError, SettingError
from ..files import whole_folder
from ..options import AsJson, check_prior
from ..serving.limits import Limits, is_loopback
from ..telling import tell


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 7860,
    prior: Annotated[
        str | None, typer.Option(help="For pictures, where the page names none.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="HDAGGER_TOKEN",
            help="What a request has to know; needed where others can reach the address.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where jobs have their files; by default they go at the end."),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            help="A limit, as pixels=4000000, of bytes, pixels, steps, samples, seconds, queued "
            "or kept; may be repeated."
        ),
    ] = None,
    at_once: Annotated[int, typer.Option(help="Jobs that run at a time.")] = 1,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Serve a page on which pictures are restored, and REST under */api*.

    It listens to this machine alone, and says where. The page asks no other host for anything.
    Ctrl-C ends it.

    Examples:

        hdagger serve

        hdagger serve --open --limit pixels=4000000 --limit seconds=600

        HDAGGER_TOKEN=... hdagger serve --host 0.0.0.0
    """
    if not is_loopback(host) and not token:
        raise SettingError(
            f"Wanted a token for {host}, which other machines can reach, but got none. Say one as "
            "HDAGGER_TOKEN, or leave --host out."
        )
    if not 0 <= port < 65536:
        raise SettingError(f"Wanted a port from 0 to 65535, but got {port}. Try --port 7860.")
    if not 1 <= at_once <= 64:
        raise SettingError(f"Wanted 1 to 64 jobs at once, but got {at_once}. Try --at-once 1.")
    limits = Limits.said(limit or [])
    if prior is not None:
        check_prior(prior)
    try:
        import uvicorn

        from ..serving.api import application
    except ImportError as error:
        raise FileError(
            "Wanted FastAPI, uvicorn and python-multipart, for the page, but they are not "
            "installed. pip install 'hdagger[app]'"
        ) from error
    with ExitStack() as stack:
        if folder is not None:
            with whole_folder(folder):  # refused at once where it cannot be written
                pass
        listener = stack.enter_context(_listening(host, port))
        root = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hdagger-")))
        app = application(root, limits, prior, token or None, is_loopback(host), at_once)
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listener.getsockname()[1]}/"
        entry = f"{address}{f'#token={token}' if token else ''}"
        tell({"address": entry}) if as_json else print(f"{entry}  (Ctrl-C ends it)", flush=True)
        if show:
            webbrowser.open(entry)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        SettingError: Another program does, or there is no such address.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingError(
            f"Wanted to listen at {host}, port {port}, but cannot ({error.strerror}). "
            "Try --port 0, for any that is free."
        ) from error
