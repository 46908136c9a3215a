"""Pictures: float64 tensors ``(channels, height, width)`` in [-1, 1]."""
