"""HIA: human image animation with regional supervision and a motion blur condition.

The method as a plain PyTorch library. It knows nothing of clusters or experiment trackers.
"""

__version__ = "0.1.0"
