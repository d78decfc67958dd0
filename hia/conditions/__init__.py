"""Conditions of the pose branch: hand movement, hand sharpness, regions and the control image."""
