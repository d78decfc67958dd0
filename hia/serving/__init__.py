"""The model behind an HTTP address."""
