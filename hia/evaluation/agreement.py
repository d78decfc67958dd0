"""Whether the hands are as sharp as was asked for: the one measure that is about the motion blur condition alone."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

LEAST_PAIRS = 3


def sharpness_agreement(generated: NDArray[np.floating], asked: NDArray[np.floating]) -> dict[str, float]:
    """How generated sharpness [K] follows that asked for [K], both raw (variances of the Laplacian).

    `hand_sharpness_log_ratio`: the median of log (1 + s) − log (1 + asked), 0 when equal, below when blurred too much.
    `hand_sharpness_spearman` and `hand_sharpness_pearson` (of log (1 + s)), absent where nothing can be said: fewer
    than 3 pairs, or no variation. Empty without pairs.
    """
    if len(generated) == 0:
        return {}
    made, wanted = np.log1p(np.asarray(generated, np.float64)), np.log1p(np.asarray(asked, np.float64))
    figures = {"hand_sharpness_log_ratio": float(np.median(made - wanted))}
    if len(made) >= LEAST_PAIRS and np.ptp(made) > 0 and np.ptp(wanted) > 0:
        # As Spearman's is defined; many times faster than `spearmanr`, which works out a p-value, too.
        figures["hand_sharpness_spearman"] = float(np.corrcoef(rankdata(made), rankdata(wanted))[0, 1])
        figures["hand_sharpness_pearson"] = float(np.corrcoef(made, wanted)[0, 1])
    return figures
