"""Video discovery: inputs, data set layouts, keypoint files beside videos, train/test splits."""
