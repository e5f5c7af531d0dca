"""Hostile and broken input: a table of cases, each with how it is made and what must come of it."""

from tests.faults.hostile import (
    checkpoints,
    configs,
    hubs,
    images_bad,
    images_odd,
    registries,
    stores,
    tars_broken,
    tars_odd,
)
from tests.faults.hostile.case import Case

CASES: tuple[Case, ...] = (
    *images_odd.CASES,
    *images_bad.CASES,
    *tars_broken.CASES,
    *tars_odd.CASES,
    *configs.CASES,
    *checkpoints.CASES,
    *hubs.CASES,
    *registries.CASES,
    *stores.CASES,
)
