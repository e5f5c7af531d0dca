"""Linear probes on frozen dense features: segmentation and depth."""
