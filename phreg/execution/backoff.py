"""How long to wait before trying again."""

BASE_S = 1.0
LONGEST_S = 60.0


def backoff(failures: int, jitter: float) -> float:
    """Seconds after so many failures in a row: none, 1, 2, 4, ... at most 60; longer by half with `jitter`
    (0 to 1), so that many who failed together do not come back together."""
    if failures < 1:
        return 0.0
    return min(BASE_S * 2.0 ** min(failures - 1, 30), LONGEST_S) * (1 + jitter / 2)
