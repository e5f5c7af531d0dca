"""What the gate's rules on labelled sets are judged by: counts of each image, as measuring stored them."""

import dataclasses
from collections.abc import Mapping

from phreg.config.labels import SetColumn
from phreg.config.run import TEACHER, RunConfig
from phreg.errors import ModelError
from phreg.evaluate.set_counts import SetCounts
from phreg.pipeline.columns import kept_in, stored_counts
from phreg.pipeline.methods import Labelled, Measured, Method, baselines, measure, read_as_students
from phreg.pipeline.prepare import Prepared
from phreg.registry import Counted, Entry, LabelledSides

CHAMPION = "champion"


def labelled_sides(
    config: RunConfig, prepared: Prepared, labelled: Labelled | None, student: str, champion: Entry | None
) -> LabelledSides | None:
    """None if there are no such rules, or none of their sets is there.

    `labelled` is what was measured of teacher and student. The champion is measured here, on the same images,
    unless it was before.
    """
    columns = _ruled(config, prepared).columns
    if not columns:
        return None
    measured = {} if labelled is None else labelled.measured
    own = prepared.read_outs[student]
    teachers = [baselines(config)[0], *(m for m in read_as_students(config, prepared) if m.read_out == own)]
    return LabelledSides(
        _counted(config, "the student's", measured.get(student)),
        tuple(_counted(config, f"the {TEACHER}'s (as {m.read_out})", measured.get(m.name)) for m in teachers),
        () if champion is None else _champion(config, prepared, champion),
        {c.name: c.segmentation.min_images for c in columns if isinstance(c, SetColumn)},
    )


def _ruled(config: RunConfig, prepared: Prepared, against: str | None = None) -> Prepared:
    """Only the columns that rules are on."""
    rules = [rule for rule in config.gate.labelled_rules if against in (None, rule.against)]
    names = {rule.column for rule in rules}
    return dataclasses.replace(prepared, columns=tuple(c for c in prepared.columns if c.name in names))


def _champion(config: RunConfig, prepared: Prepared, champion: Entry) -> tuple[Counted, ...]:
    needed = _ruled(config, prepared, CHAMPION)
    if not needed.columns:
        return ()
    try:
        found = measure(config, needed, Method(CHAMPION, config.seed, champion.url))
    except ModelError as error:  # it cannot be loaded
        found = Measured({}, {column.name: str(error) for column in needed.columns})
    return (_counted(config, f"the {CHAMPION}'s", found),)


def _counted(config: RunConfig, whose: str, measured: Measured | None) -> Counted:
    if measured is None:
        return Counted(whose, {})
    found = {name: stored_counts(kept_in(config), digest) for name, digest in measured.digests.items()}
    counts: Mapping[str, SetCounts] = {name: of for name, of in found.items() if of is not None}
    return Counted(whose, counts, measured.failures)
