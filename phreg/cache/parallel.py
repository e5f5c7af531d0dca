"""Requests to a store side by side."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

REQUESTS_AT_ONCE = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[Result]:
    """Results in order, requests side by side; the first error is raised. `on_progress`: so many are done."""
    results = []
    with ThreadPoolExecutor(REQUESTS_AT_ONCE, "phreg-cache") as pool:
        try:
            for result in pool.map(function, items):
                results.append(result)
                on_progress(len(results))
            return results
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
