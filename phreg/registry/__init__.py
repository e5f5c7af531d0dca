"""Registered students: versions, aliases, the gate that promotes them, and where they came from."""

from phreg.registry.card import model_card
from phreg.registry.decision import Decision
from phreg.registry.entry import Entry, EntryRecord, StoredFile
from phreg.registry.gate import Verdict, judge
from phreg.registry.labelled_rules import Counted, LabelledSides
from phreg.registry.lineage import lineage
from phreg.registry.promotion import Promotion
from phreg.registry.registration import REPORT_FILE
from phreg.registry.registry import Registry
from phreg.registry.store import check_store
from phreg.registry.verify import Damage, Verification, verify

__all__ = [
    "REPORT_FILE",
    "Counted",
    "Damage",
    "Decision",
    "Entry",
    "EntryRecord",
    "LabelledSides",
    "Promotion",
    "Registry",
    "StoredFile",
    "Verdict",
    "Verification",
    "check_store",
    "judge",
    "lineage",
    "model_card",
    "verify",
]
