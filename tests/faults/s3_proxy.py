"""An HTTP proxy on loopback in front of an S3 server, with the faults that a test programs.

    with S3Proxy(upstream) as proxy:                     # fixtures: `s3_proxy`, `proxied_folder`
        proxy.fault(answer(503, "SlowDown"), "PUT", r"/data/", times=3)
        hold = proxy.hold("PUT", r"shards/.*[.]json")    # the commit of a shard, not yet done
        ...
        hold.wait(); os.kill(child.pid, SIGKILL); hold.drop()

`where` of a fault is a regular expression that is searched in the unquoted path with its query. Of several
faults that match, the one programmed first acts. A process started while AWS_ENDPOINT_URL is the proxy's
goes through it.
"""

import contextlib
import re
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LISTING = r"list-type=2"
WAIT = 240.0  # seconds after which a test gives up waiting


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """One request on its way. What a fault does is said in these words: forward, send, answer, reset."""

    protocol_version = "HTTP/1.1"
    proxy: "S3Proxy"

    def _serve(self) -> None:
        self.body = self._read_body()
        self.place = urllib.parse.unquote(self.path)
        fault = self.proxy.next_fault(self.command, self.place)
        with contextlib.suppress(ConnectionError):  # the client was killed, or gave up
            fault.act(self) if fault is not None else self.send(self.forward())

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve

    def forward(self) -> Reply:
        """Have the server do it."""
        connection = HTTPConnection(self.proxy.upstream, timeout=WAIT)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        connection.request(self.command, self.path, self.body, headers)
        answered = connection.getresponse()
        reply = Reply(answered.status, answered.getheaders(), answered.read())
        connection.close()
        if self.command in ("PUT", "POST") and reply.status < 300:
            self.proxy.written[self.place.partition("?")[0]] = time.monotonic()
        return reply

    def send(self, reply: Reply, share: float = 1.0) -> None:
        """Send a reply; with `share` below 1 only the head and so much of the body, then close."""
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(reply.body)))
        else:
            lengths = [value for name, value in reply.headers if name.lower() == "content-length"]
            self.send_header("Content-Length", lengths[0] if lengths else "0")
        self.end_headers()
        self.wfile.write(reply.body[: int(len(reply.body) * share)] if self.command != "HEAD" else b"")
        self.close_connection = self.close_connection or share < 1

    def answer(self, status: int, code: str) -> None:
        """An error as S3 words it."""
        body = f"<Error><Code>{code}</Code><Message>{code}, as programmed</Message></Error>".encode()
        self.send(Reply(status, [("Content-Type", "application/xml")], body))

    def reset(self) -> None:
        """Close so that the client gets a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        raise ConnectionResetError

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        pass

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()


_HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "expect", "host", "keep-alive"}

Action = Callable[[Exchange], None]


@dataclass
class Fault:
    """Acts on the matching requests after the first `skip`, `times` of them (None: all). `hits`: so far."""

    act: Action
    method: str
    where: str
    times: int | None = 1
    skip: int = 0
    seen: int = 0
    hits: int = 0

    def takes(self, method: str, place: str) -> bool:
        if not re.fullmatch(self.method, method) or not re.search(self.where, place):
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


@dataclass
class Hold:
    """Requests held before (`done=False`) or after the server did them, until the test says go.

    `wait()` until one is held; then `release()`: it goes on as if nothing had been; or `drop()`: the
    connection is reset, and what was not done is not done. Later ones that match are treated alike.
    """

    done: bool = False
    _here: threading.Event = field(default_factory=threading.Event)
    _go: threading.Event = field(default_factory=threading.Event)
    _dropped: bool = False

    def __call__(self, exchange: Exchange) -> None:
        reply = exchange.forward() if self.done else None
        self._here.set()
        self._go.wait(WAIT)
        if self._dropped:
            exchange.reset()
        exchange.send(reply or exchange.forward())

    def wait(self, timeout: float = WAIT) -> None:
        assert self._here.wait(timeout), "no request came that is to be held"

    def release(self) -> None:
        self._go.set()

    def drop(self) -> None:
        self._dropped = True
        self._go.set()


class S3Proxy:
    """The proxy; a context manager. `requests` are (method, path with query) in the order they came."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urllib.parse.urlsplit(upstream).netloc
        self.requests: list[tuple[str, str]] = []
        self.written: dict[str, float] = {}  # path -> when it was last put, monotonic seconds
        self.closing = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        handler = type("Bound", (Exchange,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault(
        self, act: Action, method: str = ".*", where: str = "", times: int | None = 1, skip: int = 0
    ) -> Fault:
        fault = Fault(act, method, where, times, skip)
        with self._lock:
            self._faults.append(fault)
        return fault

    def hold(self, method: str, where: str, times: int | None = 1, skip: int = 0, done: bool = False) -> Hold:
        hold = Hold(done)
        self.fault(hold, method, where, times, skip)
        return hold

    def heal(self) -> None:
        """No faults from here on; what is held goes on."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            if isinstance(fault.act, Hold):
                fault.act.release()

    def next_fault(self, method: str, place: str) -> Fault | None:
        with self._lock:
            self.requests.append((method, place))
            return next((fault for fault in self._faults if fault.takes(method, place)), None)

    def count(self, method: str, where: str) -> int:
        """How many such requests came."""
        return sum(m == method and bool(re.search(where, place)) for m, place in list(self.requests))

    def __enter__(self) -> "S3Proxy":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.closing.set()
        self.heal()
        self._server.shutdown()
        self._server.server_close()
