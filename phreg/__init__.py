"""phreg: clean the dense features of a pretrained ViT with self-distilled registers."""

from phreg import _torchvision

_torchvision.make_importable()
