"""The chain of stages on a cluster: preprocessing, training, sweeps, tracking."""
