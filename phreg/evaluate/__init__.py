"""Label-free evaluation of dense features: measures, stored evaluations, figures, inspection."""

from phreg.evaluate.curve import draw_curve
from phreg.evaluate.evaluation import (
    Evaluation,
    benchmark_digest,
    evaluate_model,
    evaluation_digest,
    stored_evaluation,
)
from phreg.evaluate.evaluator import Measurements, measure, measurements
from phreg.evaluate.figures import Inspected, draw_before_after, draw_inspection
from phreg.evaluate.held_out import HeldOut, held_out
from phreg.evaluate.identity import ModelIdentity, note_identity, noted_identity
from phreg.evaluate.inspect import Inspection, inspect_model
from phreg.evaluate.look import Look, look, telling_block
from phreg.evaluate.measures import shift_cosines, target_cosines
from phreg.evaluate.shifts import draw_shifts

__all__ = [
    "Evaluation",
    "HeldOut",
    "Inspected",
    "Inspection",
    "Look",
    "Measurements",
    "ModelIdentity",
    "benchmark_digest",
    "draw_before_after",
    "draw_curve",
    "draw_inspection",
    "draw_shifts",
    "evaluate_model",
    "evaluation_digest",
    "held_out",
    "inspect_model",
    "look",
    "measure",
    "measurements",
    "note_identity",
    "noted_identity",
    "shift_cosines",
    "stored_evaluation",
    "target_cosines",
    "telling_block",
]
