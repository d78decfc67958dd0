"""Stages, losses and the training step."""
