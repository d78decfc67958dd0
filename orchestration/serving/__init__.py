"""Serving of a registered model by Ray Serve."""
