"""The data pipeline, from raw videos to training samples: ingest, preprocess, store, sampling (see README.md here)."""
