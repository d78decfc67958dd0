"""What the ControlNet sees: hand movement, hand sharpness, regions and the control image."""
