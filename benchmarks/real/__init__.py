"""Evidence on real weights and real photographs: tables from files that a user points to."""

import phreg  # noqa: F401 (before timm, for the torchvision beside it)
