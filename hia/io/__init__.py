"""Files and paths, local or at fsspec URLs: atomic writes, hashes, locks."""
