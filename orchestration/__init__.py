"""The chain of stages on a Ray cluster: preprocessing, training, evaluation, registration, sweeps, tracking."""
