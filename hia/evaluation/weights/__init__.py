"""Official weights of published metrics: registry of their files, search, checks of digests, and loading."""
