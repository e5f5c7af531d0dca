"""How far a probe is: the name of the stage, how much of it is done, and how much there is."""

from collections.abc import Callable

TRAINING = "training"  # the stage whose parts are steps; of all others they are images

OnProgress = Callable[[str, int, int], None]


def stage(on_progress: OnProgress | None, name: str) -> Callable[[int, int], None] | None:
    """What one stage reports to."""
    if on_progress is None:
        return None
    report = on_progress
    return lambda done, total: report(name, done, total)
