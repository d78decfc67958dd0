"""Synthetic dancers: generated videos of one person with exact keypoints, used in tests and without real data.

The body is our own: lofted surfaces skinned to a skeleton with jointed fingers, drawn by a small numpy rasteriser. A
scanned body model (anny, 0.6.2) was considered and rejected: it needs trimesh, roma and warp-lang and 108 MB of data,
comes undressed and bald, and would still need this rasteriser, motion and rooms; this one needs numpy and OpenCV, no
download, and starts in milliseconds.
"""

from hia.synthetic.writer import SHUTTER, write_dancers

__all__ = ["SHUTTER", "write_dancers"]
