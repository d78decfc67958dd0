"""Evaluation protocols: self reenactment of a store's clips, and pairs of folders; with their result cache."""
