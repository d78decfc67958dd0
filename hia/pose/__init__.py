"""Keypoints of a person: layout, files, estimation, tracking, rendering, and retargeting to another person."""
