"""Serving of a model over HTTP."""
