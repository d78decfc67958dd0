"""Synthetic dancers: generated videos of one person with exact keypoints, for tests and machines without data.

The body is our own: lofted surfaces skinned to a skeleton with jointed fingers, drawn by a small numpy rasteriser. A
scanned body model (anny, 0.6.2) was weighed and left: it needs trimesh, roma and warp-lang and 108 MB of data, comes
undressed and bald, and would still need this rasteriser, motion and rooms; this needs numpy and OpenCV, nothing to
download, and starts in milliseconds.
"""

from hia.synthetic.writer import SHUTTER, write_dancers

__all__ = ["SHUTTER", "write_dancers"]
