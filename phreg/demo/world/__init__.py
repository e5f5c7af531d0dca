"""A small open world: procedural scenes with captions, class masks and depth, exact."""
