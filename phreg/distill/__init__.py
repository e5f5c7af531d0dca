"""Students from cached targets: the order of samples, the loss, the training step, exact resume. No Ray."""
