"""What can be programmed into `S3Proxy.fault`: each function gives an action."""

import re
import time
import urllib.parse

from tests.faults.s3_proxy import Action, Exchange, Reply


def answer(status: int, code: str) -> Action:
    """An S3 error instead of doing it: `answer(500, "InternalError")`, `answer(503, "SlowDown")`."""
    return lambda exchange: exchange.answer(status, code)


def expired(status: int = 400) -> Action:
    """What credentials past their time get (AWS answers 400, others 403); a HEAD's answer has no code."""
    return answer(status, "ExpiredToken")


def reset(exchange: Exchange) -> None:
    """The connection is reset, and nothing was done."""
    exchange.reset()


def lose_reply(exchange: Exchange) -> None:
    """It is done, but the client never hears so."""
    exchange.forward()
    exchange.reset()


def stall(exchange: Exchange) -> None:
    """No answer, ever; the client's own timeout ends it."""
    exchange.proxy.closing.wait()
    exchange.reset()


def cut(share: float = 0.5) -> Action:
    """The body ends early: the head promises all of it."""
    return lambda exchange: exchange.send(exchange.forward(), share)


def slow(seconds: float) -> Action:
    def act(exchange: Exchange) -> None:
        time.sleep(seconds)
        exchange.send(exchange.forward())

    return act


def without(header: str) -> Action:
    """Done as if the client had not sent this header: a server that does not know it."""

    def act(exchange: Exchange) -> None:
        del exchange.headers[header]
        exchange.send(exchange.forward())

    return act


def only_if(header: str, act: Action) -> Action:
    """The fault, for requests that carry this header; the others are done."""
    return lambda exchange: act(exchange) if header in exchange.headers else exchange.send(exchange.forward())


def stale(seconds: float) -> Action:
    """For listings (`where=LISTING`): what was put in the last so many seconds is not there yet."""

    def act(exchange: Exchange) -> None:
        reply = exchange.forward()
        bucket = exchange.place.partition("?")[0].rstrip("/")
        since = time.monotonic() - seconds
        new = {place for place, when in list(exchange.proxy.written.items()) if when > since}
        keys = {place.removeprefix(f"{bucket}/") for place in new}
        exchange.send(Reply(reply.status, reply.headers, _without(reply.body.decode(), keys).encode()))

    return act


def _without(listing: str, keys: set[str]) -> str:
    def kept(match: re.Match[str]) -> str:
        return "" if urllib.parse.unquote(match[1]) in keys else match[0]

    return re.sub(r"<Contents>.*?<Key>(.*?)</Key>.*?</Contents>", kept, listing, flags=re.DOTALL)
