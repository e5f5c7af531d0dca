"""The fault suite: real processes, signals, sockets and disks. `benchmarks/faults.py` makes a table of it."""
