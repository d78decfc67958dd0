"""Windows over a long clip that move from step to step (paper sec. 3.4, prompt travel)."""


def shifted_windows(num_frames: int, window: int, overlap: int, offset: int) -> list[range]:
    """Windows of exactly `window` frames that cover frames 0..num_frames − 1, shifted back by `offset`.

    Windows that would reach over an end are moved inside, never wrapped. A clip shorter than a window is one range
    of its own length. offset: any number of frames; it counts modulo the stride window − overlap.
    Raises ValueError for an empty clip or an overlap outside 0..window − 1.
    """
    if num_frames < 1 or window < 1:
        raise ValueError(f"num_frames and window must be at least 1, not {num_frames} and {window}")
    if not 0 <= overlap < window:
        raise ValueError(f"overlap must lie in 0..{window - 1} (below window), not {overlap}")
    if num_frames <= window:
        return [range(num_frames)]
    stride = window - overlap
    last = num_frames - window
    starts = range(-(offset % stride), last + stride, stride)
    inside = sorted({min(max(start, 0), last) for start in starts})
    return [range(start, start + window) for start in inside]
