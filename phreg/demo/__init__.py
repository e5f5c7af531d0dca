"""What `make demo` runs on: drawn scenes and a small stand-in teacher, made on the spot."""

from phreg.demo.world import make_demo

__all__ = ["make_demo"]
