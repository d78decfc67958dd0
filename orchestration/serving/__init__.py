"""The registered model behind Ray Serve."""
