"""Ray's token authentication: a token for a local Ray of our own, and what to say when a cluster refuses one.

Ray sends a token where RAY_AUTH_MODE is `token`, and for the address `auto` also where that is not set and a
token is there. It takes the first of RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH and ~/.ray/auth_token.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled
from ray.exceptions import AuthenticationError

from phreg.errors import ConfigError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
DEFAULT_PATH = "~/.ray/auth_token"


@contextmanager
def token_for(address: str) -> Iterator[None]:
    """A token for a local Ray that lives as long as the block, if the user has none.

    Ray would write one to the user's home and leave it there, and every later `ray start --head` on this
    machine would want it. What Ray itself changes of the environment is put back, so that what this process
    joins later is asked as before. Raises `ConfigError` if the user named a token file that cannot be read.
    """
    before = {name: os.environ.get(name) for name in (MODE, TOKEN)}
    if address == "local" and (before[MODE] or "token").lower() == "token" and not _has_token():
        os.environ[TOKEN] = secrets.token_hex(32)
        AuthenticationTokenLoader.instance().reset_cache()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        AuthenticationTokenLoader.instance().reset_cache()
        Config.initialize("")  # Ray keeps the mode that it has read


def refused(address: str) -> ConfigError:
    """The error for a cluster that wants a token, and not what this process sent. It holds no token.

    Raises `ConfigError` if the user named a token file that cannot be read."""
    return ConfigError(
        f"The Ray cluster at {address} wants its token",
        expected=f"{MODE}=token, and the cluster's token in {TOKEN}, the file {TOKEN_PATH} or {DEFAULT_PATH}",
        found=_sent(address),
        remedy="take the token from the cluster's head, where it lies in one of these places "
        "(`ray get-auth-token` prints it), and run the same command again",
    )


def _sent(address: str) -> str:
    mode = os.environ.get(MODE)
    place = _place()
    sends = address == "auto" if mode is None else mode.lower() == "token"
    if sends and place is not None:
        return f"a token in {place} that is not the cluster's"
    what = f"no token in any of these places, {MODE}" if place is None else f"no token was sent: {MODE}"
    return f"{what} is {'not set' if mode is None else repr(mode)}"


def _place() -> str | None:
    """Where Ray takes this process's token from."""
    if not _has_token():
        return None
    if os.environ.get(TOKEN):
        return TOKEN
    path = os.environ.get(TOKEN_PATH)
    return f"the file {TOKEN_PATH}={path}" if path else DEFAULT_PATH


def _has_token() -> bool:
    loader = AuthenticationTokenLoader.instance()
    loader.reset_cache()  # it keeps what it found
    try:
        return bool(loader.has_token(ignore_auth_mode=True))
    except AuthenticationError as error:
        raise _unreadable(error.message) from None


def _unreadable(reason: str) -> ConfigError:
    return ConfigError(
        "Ray's token cannot be read",
        expected=f"a token in {TOKEN}, or a readable file at {TOKEN_PATH}",
        found=reason,
        remedy=f"correct {TOKEN_PATH}, or leave it unset: then {DEFAULT_PATH} is read, if it is there",
    )
