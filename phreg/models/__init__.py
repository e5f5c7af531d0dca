"""The one network class: timm's ViT, as teacher and as student."""

from phreg.models.backbone import Backbone
from phreg.models.hub import hub_files, load_student
from phreg.models.load import load_backbone, load_teacher
from phreg.models.snippet import timm_snippet
from phreg.models.student import PAPER_UNLOCKED, Student, add_registers
from phreg.models.text import TextTower, load_text

__all__ = [
    "PAPER_UNLOCKED",
    "Backbone",
    "Student",
    "TextTower",
    "add_registers",
    "hub_files",
    "load_backbone",
    "load_student",
    "load_teacher",
    "load_text",
    "timm_snippet",
]
