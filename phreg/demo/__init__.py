"""What `make demo` runs on: scenes of the small open world, and configs for the CLIP trained on it."""

from phreg.demo.inputs import make_demo

__all__ = ["make_demo"]
