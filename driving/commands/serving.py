"""``serve``: drive, disturb and look inside in a browser."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Annotated

import typer

from driving.console import note
from sim.drive import load_table
from sim.errors import BadInputError

PORT = 8765


def serve(
    policies: Annotated[
        list[str] | None, typer.Option("--policies", help="Folders of policies to choose beside the shipped ones.")
    ] = None,
    data: Annotated[list[Path] | None, typer.Option("--data", help="Drives to choose as worlds.")] = None,
    sweep: Annotated[
        list[Path] | None, typer.Option("--sweep", help="Folders of `stress` whose page can be opened.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; others than this machine need the token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = PORT,
) -> None:
    """Drive, disturb and look inside in a browser: a live closed loop of one or two policies.

    Example: liquid-lane serve
    """
    try:
        import uvicorn
        from starlette import applications  # noqa: F401 - the page needs both

        from driving.serve.app import LOOPBACK, MAX_MESSAGE, Server
    except ImportError:
        raise BadInputError("serve needs more packages: pip install 'liquid-lane[web]'") from None
    import torch

    from driving.report import REPORT_NAME
    from driving.serve.controls import Controls, menu_of
    from driving.serve.live import Live

    for drive in data or []:
        load_table(drive)
    pages = {}
    for folder in sweep or []:
        if not (folder / REPORT_NAME).is_file():
            raise BadInputError(f"{folder}: has no {REPORT_NAME}; name a folder that `stress` wrote")
        pages[folder.name] = folder / REPORT_NAME
    menu = menu_of(tuple(policies or ()), tuple(data or ()))
    token = "" if host in LOOPBACK else secrets.token_urlsafe(16)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise BadInputError(
                f"serve: cannot listen at {host}:{port} ({error.strerror}); try another --port"
            ) from None
    torch.set_num_threads(1)
    note("warming up")
    live = Live(menu, Controls(policies=menu.policies[:1]))  # what is compiled, is compiled before the first viewer
    live.tick()
    live.close()
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{port}/{'?token=' + token if token else ''}   (Ctrl-C ends it)", flush=True)
    uvicorn.run(
        Server(menu, host, token, pages).app(), host=host, port=port, log_level="warning", ws_max_size=MAX_MESSAGE * 4,
        server_header=False, timeout_graceful_shutdown=2,
    )  # fmt: skip
