"""The report page of a registered student, written beside it: `<model>/<version>/report.html`.

It is made from what lies there: the entry's own files, the gate's decision, and sections (`report/*.json`)
that stages add. A section is drawn where the models are; putting the page together needs none of them, so
whoever adds a section calls `write_page` afterwards. What is up to date is not made again.
"""

import contextlib
from dataclasses import dataclass

from phreg.config.run import RunConfig
from phreg.errors import DataError, ObjectNotFoundError
from phreg.fingerprint import digest_bytes, digest_json
from phreg.pipeline.assess import Assessment, on_cluster
from phreg.pipeline.methods import Labelled
from phreg.pipeline.page_content import page_of
from phreg.pipeline.page_features import draw_features, feature_inputs
from phreg.pipeline.page_labels import draw_labels, label_inputs
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.register import Registered
from phreg.registry import REPORT_FILE, Entry, Registry
from phreg.report import Section, inputs_of, render, section_from_json, section_to_json
from phreg.storage import Folder

PAGE_VERSION = 1  # raise it when the same inputs would give another page
SECTIONS, FEATURES, LABELS = "report", "features", "labels"


@dataclass(frozen=True)
class PageReport:
    """Where a page is. `reused`: it was up to date. How often the teacher ran for its pictures."""

    url: str
    reused: bool
    teacher_forward_passes: int = 0


def make_page(
    config: RunConfig,
    prepared: Prepared,
    registered: Registered,
    assessment: Assessment,
    labelled: Labelled | None = None,
) -> PageReport:
    """Draw the student beside the teacher (once), and write the page (once)."""
    registry = Registry(Folder(config.registry_url))
    entry = registry.entry(config.name, registered.version)
    passes = 0
    if config.evaluation.figures:
        inputs = feature_inputs(config, entry, assessment.evaluation.benchmark)
        if _inputs_of(entry, FEATURES) != inputs:
            section, passes = on_cluster(config, draw_features, config, prepared, entry.url, inputs)
            add_section(entry, FEATURES, section)
    if labelled is not None:
        inputs = label_inputs(config, labelled)
        if _inputs_of(entry, LABELS) != inputs:
            section = on_cluster(config, draw_labels, config, prepared, labelled, inputs)
            add_section(entry, LABELS, section)
    page = write_page(registry, entry)
    return PageReport(page.url, page.reused, passes)


def add_section(entry: Entry, name: str, section: Section) -> None:
    """Store a section beside an entry, replacing one of that name; `write_page` then shows it."""
    entry.folder.write(f"{SECTIONS}/{name}.json", section_to_json(section))


def write_page(registry: Registry, entry: Entry) -> PageReport:
    """Put the page together and write it, unless the one there was made from the same."""
    stored = _stored_sections(entry)
    decision = registry.decision(entry)
    inputs = digest_json(
        {
            "page_version": PAGE_VERSION,
            "entry": digest_bytes(entry.record.to_bytes()),
            "decision": decision.model_dump(mode="json") if decision else None,
            "sections": {name: digest_bytes(data) for name, data in stored.items()},
        }
    )
    url = entry.folder.url_of(REPORT_FILE)
    if _written_from(entry.folder) == inputs:
        return PageReport(url, reused=True)
    names = sorted(stored, key=lambda name: (name != FEATURES, name))
    sections = [section_from_json(stored[name], _place(entry, name)) for name in names]
    page = page_of(entry, decision, sections, inputs)
    entry.folder.write(REPORT_FILE, render(page).encode())
    return PageReport(url, reused=False)


def _stored_sections(entry: Entry) -> dict[str, bytes]:
    """Sections by name, as they are stored."""
    paths = [item.path for item in entry.folder.list(SECTIONS) if item.path.endswith(".json")]
    return {_name(path): entry.folder.read(f"{SECTIONS}/{_name(path)}.json") for path in paths}


def _name(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".json")


def _place(entry: Entry, name: str) -> str:
    return entry.folder.url_of(f"{SECTIONS}/{name}.json")


def _inputs_of(entry: Entry, name: str) -> str | None:
    """What a stored section was made from. One that cannot be read is made again."""
    with contextlib.suppress(ObjectNotFoundError, DataError):
        data = entry.folder.read(f"{SECTIONS}/{name}.json")
        return section_from_json(data, _place(entry, name)).inputs
    return None


def _written_from(folder: Folder) -> str | None:
    with contextlib.suppress(ObjectNotFoundError):
        return inputs_of(folder.read(REPORT_FILE).decode(errors="replace"))
    return None
