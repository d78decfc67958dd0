"""By what names metrics are found in MLflow. Apart from the measuring, for those who only look one up."""

import re

# Metrics of clips that the model was trained on never go by the names of those that it was not.
TRAIN_PREFIX = "split_train/"


def metric_prefix(split: str) -> str:
    """What the names of a split's metrics begin with: nothing for clips kept out of training."""
    return "" if split == "test" else TRAIN_PREFIX


def tracked_name(name: str) -> str:
    """A figure's name as MLflow takes it: `fd[i3d]` is `fd_i3d`."""
    return re.sub(r"[^\w.\- :/]", "_", re.sub(r"\[(.*)\]", r"_\1", name), flags=re.ASCII)
