"""Video discovery: inputs, layouts of published datasets, keypoint files beside videos, train/test splits."""
