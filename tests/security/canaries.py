"""Secrets that are easy to find again, a server that asks for one, and a search for all of them."""

import base64
import contextlib
import functools
import http.server
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

SECRET_KEY, SESSION, PASSWORD = "canaryKeyZ81k5", "canaryTokenQ77m2", "canaryPassX93w4"
CANARIES = [secret.encode() for secret in (SECRET_KEY, SESSION, PASSWORD)]
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_SESSION_TOKEN": SESSION,
}


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Files for who knows the password."""

    expected = "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == self.expected:
            super().do_GET()
        else:
            self.send_error(401)

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def guarded_server(folder: Path) -> Iterator[str]:
    """URL of the folder, with user and password."""
    handler = functools.partial(Guarded, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://user:{PASSWORD}@127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def leaks(contents: Iterable[tuple[str, bytes]]) -> list[str]:
    """What holds a secret, whole or its beginning: messages are cut to length."""
    marks = [mark for secret in CANARIES for mark in (secret, secret[:-3], base64.b64encode(secret)[:-4])]
    found = []
    for name, data in contents:
        for mark in marks:
            if mark in data:
                place = data.index(mark)
                found.append(f"{name}: ...{data[max(0, place - 150) : place + 60]!r}")
                break
    return found


def files_below(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, by name and content; names count, too."""
    for folder in folders:
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):  # sockets, and files that go meanwhile
                yield str(path), str(path).encode() + (path.read_bytes() if path.is_file() else b"")
