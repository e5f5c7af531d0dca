"""Open-vocabulary segmentation: dense features and class names to label maps."""
