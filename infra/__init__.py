"""What runs around the packages: packages by version, and the model on a Ray cluster."""
