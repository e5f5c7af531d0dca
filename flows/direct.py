"""Prefect's clients of an API on loopback, which look at no proxy of the environment.

Exceptions from proxies would be enough, if only httpx did not refuse to make any client at all where a proxy
is of a kind that it cannot use, such as SOCKS, or where an exception is one that it does not understand.
"""

from typing import Any

import prefect.client.orchestration as orchestration
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient

from phreg.loopback import is_loopback


def ask_loopback_directly() -> None:
    """From now on, in this process."""
    orchestration.PrefectHttpxAsyncClient = _AsyncClient  # type: ignore[misc]
    orchestration.PrefectHttpxSyncClient = _SyncClient  # type: ignore[misc]


class _AsyncClient(PrefectHttpxAsyncClient):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **_direct(settings))


class _SyncClient(PrefectHttpxSyncClient):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **_direct(settings))


def _direct(settings: dict[str, Any]) -> dict[str, Any]:
    return {"trust_env": not is_loopback(str(settings.get("base_url", "")))} | settings
