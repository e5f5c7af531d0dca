"""`python -m benchmarks NAME`: benchmarks as a tool. Each prints both of its sides."""

import sys
from importlib import import_module

NAMES = {
    "device": "benchmarks.device",
    "inference": "benchmarks.inference",
    "real": "benchmarks.real.command",
    "students": "benchmarks.students",
    "startup": "benchmarks.startup",
    "sweep": "benchmarks.sweep",
    "views": "benchmarks.views",
}

if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
    sys.exit(f"usage: python -m benchmarks {{{','.join(NAMES)}}} ... (--help says what each takes)")
sys.exit(import_module(NAMES[sys.argv[1]]).main(sys.argv[2:]))
