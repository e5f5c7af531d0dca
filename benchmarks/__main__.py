"""`python -m benchmarks NAME`: benchmarks that need files of the user's."""

import sys

from benchmarks.real.command import main

if len(sys.argv) < 2 or sys.argv[1] != "real":
    sys.exit("usage: python -m benchmarks real --weights DIR --data DIR --output OUT [--only NAME]")
sys.exit(main(sys.argv[2:]))
