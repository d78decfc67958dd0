"""What the pose branch sees: hand movement, hand sharpness, regions and the control image."""
