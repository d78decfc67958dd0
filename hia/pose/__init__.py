"""Keypoints of a person: their layout, their files, their picture and their transfer to another person."""
