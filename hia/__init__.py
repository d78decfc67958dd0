"""HIA: human image animation with regional supervision and a motion blur condition.

The method as a plain PyTorch library. It depends on no cluster software and no experiment tracker.
"""

__version__ = "0.1.0"
