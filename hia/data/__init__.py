"""From raw videos to training samples: sources, preprocessing, the clip store, samples, synthetic dancers."""
