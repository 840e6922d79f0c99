"""The server: the page's files, and a WebSocket for each viewer with a world of its own.

Bound to the loopback by default. Every request must name a host that is meant (no DNS rebinding), a WebSocket must come
from a page of this server, and where the server is open to others everything needs its token. Clients never name
paths: what can be fetched is listed beforehand.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import struct
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from driving.serve.controls import Menu
from driving.serve.dropped import FILES as DRIVE_FILES
from driving.serve.live import Live
from sim.conventions import FRAME_RATE_HZ
from sim.errors import BadInputError
from sim.processes import n_cores

PAGE = Path(__file__).parent / "page"
FILES = {"/": "index.html", "/app.js": "app.js", "/draw.js": "draw.js", "/style.css": "style.css"}
OPEN = ("/app.js", "/draw.js", "/style.css")
"""The page's own code, which is no secret, needs no token."""
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MAX_VIEWERS = 10
MAX_MESSAGE = 4096
MESSAGES_PER_S, MESSAGE_BURST = 60.0, 120.0
MAX_FAULTS = 50
"""Messages that are none, after which a viewer is sent away."""
FULL, TOO_MUCH, NOT_MEANT = 1013, 1008, 1008


@dataclass
class Server:
    """What all viewers share.

    Attributes:
        menu: what there is to choose from.
        host, token: as bound; the token is needed where it is not empty.
        sweeps: pages of finished sweeps by name.
        viewers: the worlds that run; n_opening: those that are being made.
    """

    menu: Menu
    host: str = "127.0.0.1"
    token: str = ""
    sweeps: dict[str, Path] = field(default_factory=dict)
    viewers: set[Live] = field(default_factory=set)
    n_opening: int = 0
    pool: ThreadPoolExecutor | None = None

    def app(self) -> ASGIApp:
        """The ASGI application."""

        @contextlib.asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            with ThreadPoolExecutor(max(n_cores(), 1), "world") as self.pool:
                yield

        routes: list[Any] = [Route(path, self._file) for path in FILES]
        routes += [
            Route("/menu.json", self._menu),
            Route("/recording/{name}", self._recording),
            Route("/sweep/{number:int}", self._sweep),
            Route("/drive/{key}/{name}", self._dropped, methods=["PUT"]),
            WebSocketRoute("/live", self._live),
        ]
        return _Guard(Starlette(routes=routes, lifespan=lifespan), self)

    async def _file(self, request: Request) -> Response:
        path = PAGE / FILES[request.url.path]
        return FileResponse(path, media_type=TYPES[path.suffix], headers=HEADERS)

    async def _menu(self, request: Request) -> Response:
        return JSONResponse(
            self.menu.to_dict() | {"sweeps": list(self.sweeps), "drive_files": DRIVE_FILES}, headers=HEADERS
        )

    async def _recording(self, request: Request) -> Response:
        name = request.path_params["name"]
        path = next((v.done_recordings[name] for v in self.viewers if name in v.done_recordings), None)
        if path is None or not path.is_file():
            return PlainTextResponse("no such recording; it goes with its page", 404, headers=HEADERS)
        return FileResponse(path, media_type="video/mp4", filename="liquid-lane.mp4", headers=HEADERS)

    async def _sweep(self, request: Request) -> Response:
        pages = list(self.sweeps.values())
        number = request.path_params["number"]
        if not number < len(pages):
            return PlainTextResponse("no such sweep", 404, headers=HEADERS)
        headers = HEADERS | {"content-security-policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
        return FileResponse(pages[number], media_type="text/html", headers=headers)

    async def _dropped(self, request: Request) -> Response:
        """A file of a drive that a viewer drops in."""
        key = request.path_params["key"].encode()
        live = next((v for v in self.viewers if hmac.compare_digest(v.key.encode(), key)), None)
        if live is None:
            return PlainTextResponse("no such page", 404, headers=HEADERS)
        try:
            path = live.dropped.begin(request.path_params["name"])
            async for chunk in request.stream():
                live.dropped.add(path, chunk)
        except BadInputError as error:
            return PlainTextResponse(str(error), 413, headers=HEADERS)
        return PlainTextResponse("", 201, headers=HEADERS)

    async def _live(self, socket: WebSocket) -> None:
        await socket.accept()
        if len(self.viewers) + self.n_opening >= MAX_VIEWERS:
            await socket.close(FULL, f"{MAX_VIEWERS} viewers are here already")
            return
        assert self.pool is not None  # the application has begun
        self.n_opening += 1
        try:
            live = await asyncio.get_running_loop().run_in_executor(self.pool, Live, self.menu)
        finally:
            self.n_opening -= 1
        self.viewers.add(live)
        try:
            await _Viewer(socket, live, self.pool).run()
        finally:
            self.viewers.discard(live)
            await asyncio.get_running_loop().run_in_executor(self.pool, live.close)


class _Guard:
    """Refuses what does not come from where it should, before anything else sees it."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self.app, self.server = app, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (reason := self.refusal(HTTPConnection(scope))):
            if scope["type"] == "http":
                await PlainTextResponse(reason, 403, headers=HEADERS)(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": NOT_MEANT, "reason": reason})
            return
        await self.app(scope, receive, send)

    def refusal(self, request: HTTPConnection) -> str:
        """Why a request is refused; empty where it is not."""
        host = request.headers.get("host", "")
        try:
            name, origin = urlsplit(f"//{host}").hostname, urlsplit(request.headers.get("origin", ""))
        except ValueError:
            return "malformed host or origin"
        if self.server.token and request.url.path not in OPEN:
            given = request.query_params.get("token", "")
            if not hmac.compare_digest(given.encode(), self.server.token.encode()):
                return "the address needs the token that was printed when the server began"
        elif not self.server.token and name not in LOOPBACK:
            return "this server is for the machine that it runs on"
        asks_to_change = request.scope["type"] == "websocket" or request.scope["method"] not in ("GET", "HEAD")
        if asks_to_change and origin.netloc != host:
            return "only a page of this server may open a world"
        return ""


class _Viewer:
    """One open page: what it asks is heard between two instants, and pictures go out, 20 a second if there is time.

    A picture is sent when the one before has gone: a slow line slows its own world and nobody else's.
    """

    def __init__(self, socket: WebSocket, live: Live, pool: ThreadPoolExecutor) -> None:
        self.socket, self.live, self.pool = socket, live, pool
        self.inbox: list[object] = []
        self.wake = asyncio.Event()
        self.faults = 0
        self.work: asyncio.Future[Any] | None = None

    async def run(self) -> None:
        listening = asyncio.create_task(self._listen())
        sending = asyncio.create_task(self._show())
        done, pending = await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if self.work is not None and not self.work.done():  # a thread cannot be stopped: its instant ends first
            await asyncio.wait({self.work})
        for task in done:
            error = task.exception()
            if error is not None and not isinstance(error, (WebSocketDisconnect, RuntimeError, OSError)):
                raise error

    async def _listen(self) -> None:
        allowance, last_s = MESSAGE_BURST, time.monotonic()
        while True:
            message = await self.socket.receive()
            if message["type"] != "websocket.receive":
                return
            now_s = time.monotonic()
            allowance, last_s = min(allowance + MESSAGES_PER_S * (now_s - last_s), MESSAGE_BURST), now_s
            allowance -= 1
            text = message.get("text")
            if allowance < 0 or (text is not None and len(text) > MAX_MESSAGE):
                await self.socket.close(TOO_MUCH, "too many messages, or too long ones")
                return
            try:
                if text is None:
                    raise ValueError("expected text")
                self.inbox.append(json.loads(text))
            except (ValueError, RecursionError):
                self.inbox.append(None)
            self.wake.set()

    async def _show(self) -> None:
        loop = asyncio.get_running_loop()
        told, due_s = -1, loop.time()
        while self.faults <= MAX_FAULTS:
            asked, self.inbox = self.inbox, []
            self.wake.clear()
            self.work = loop.run_in_executor(self.pool, self._work, asked)
            answers, header, pictures = await asyncio.shield(self.work)
            for answer in answers:
                await self._send({"refused": answer})
            if self.live.n_changes != told:
                told = self.live.n_changes
                await self._send({"scene": self.live.describe()})
            await self.socket.send_bytes(packed(header, pictures))
            due_s = max(due_s + 1.0 / FRAME_RATE_HZ, loop.time())
            if self.live.paused and not self.live.recording:
                await self.wake.wait()
            else:
                await asyncio.sleep(max(due_s - loop.time(), 0.001))
        await self.socket.close(TOO_MUCH, "too many messages that are none")

    def _work(self, asked: Sequence[object]) -> tuple[list[str], dict[str, Any], list[bytes]]:
        """In a thread of the pool: hear everything, then go on by an instant."""
        answers = []
        for message in asked:
            try:
                self.live.hear(message)
            except BadInputError as error:
                self.faults += 1
                answers.append(str(error))
        return answers, *self.live.tick()

    async def _send(self, value: dict[str, Any]) -> None:
        await self.socket.send_text(json.dumps(value))


def packed(header: dict[str, Any], pictures: Sequence[bytes]) -> bytes:
    """A message to the page: length of the header (uint32, little endian), header as JSON, pictures.

    >>> packed({"a": 1}, [b"xy"])[4:]
    b'{"a": 1, "sizes": [2]}xy'
    """
    text = json.dumps(header | {"sizes": [len(picture) for picture in pictures]}).encode()
    return struct.pack("<I", len(text)) + text + b"".join(pictures)
