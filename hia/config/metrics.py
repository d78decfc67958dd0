"""The registry of metrics: one entry for each, from which the configuration, weights, reports and documents derive.

An entry holds everything about a metric but its code, because this package imports nothing else of `hia`. Code is bound
to it by name: measures without a network in `hia.evaluation.video_metrics.MEASURES`, networks by their group in
`hia.evaluation.metrics.LOADERS`. `hia.evaluation.metrics` checks that nothing is missing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Group = Literal["frames", "perceptual", "regions", "identity", "change", "distance"]
"""Kinds of metrics, in the order of reports; those of perceptual, identity and distance have a network."""

GROUPS: Mapping[Group, str] = MappingProxyType(
    {
        "frames": "frame by frame",
        "perceptual": "frame by frame, with a network",
        "regions": "face and hands",
        "identity": "the person's face",
        "change": "change between frames",
        "distance": "distributions of all videos",
    }
)


@dataclass(frozen=True)
class FigureInfo:
    """Meaning of a figure, for people. better: 1 where larger values are, −1 where smaller ones are, 0 for neither."""

    title: str
    better: int
    explained: str = ""
    unit: str = ""

    @property
    def arrow(self) -> str:
        """The direction in which it is better."""
        return {1: "↑", -1: "↓", 0: ""}[self.better]

    @property
    def description(self) -> str:
        """Unit and explanation in one line."""
        return ", ".join(part for part in (self.unit, self.explained) if part)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric that can be selected by name, and the figures that it gives.

    network: its name among the official weights (`hia.evaluation.weights.registry`); variant: one of several published
    ways to use it. always: measured in addition to any selection. cheap: takes minutes at most on a CPU. usual: among
    those measured on a GPU when none is selected by name.
    """

    name: str
    group: Group
    figures: Mapping[str, FigureInfo]
    network: str | None = None
    variant: str = ""
    always: bool = False
    cheap: bool = True
    usual: bool = True


# Names and explanations of figures of other than the published weights, by the group of their metric.
_UNPUBLISHED: Mapping[Group, tuple[str, int, str]] = MappingProxyType(
    {
        "perceptual": (
            "distance",
            -1,
            "perceptual distance with other than the published weights: not comparable with anybody's",
        ),
        "identity": ("cosine", 1, "identity with another network than ArcFace: not comparable with CSIM"),
        "distance": (
            "fd",
            -1,
            "Fréchet distance with other than the published weights: not comparable with anybody's",
        ),
    }
)


def _by_name(metrics: Iterable[Metric]) -> Mapping[str, Metric]:
    return MappingProxyType({metric.name: metric for metric in metrics})


def _lpips(name: str, network: str, variant: str, title: str, explained: str, cheap: bool) -> Metric:
    return Metric(
        name=name,
        group="perceptual",
        network=network,
        variant=variant,
        # With VGG it takes 5 s for a frame of 512×896 on a CPU; the other networks take less than that for a clip.
        cheap=cheap,
        figures={name: FigureInfo(title, -1, explained)},
    )


def _fvd(name: str, variant: str, title: str, explained: str, cheap: bool = False, usual: bool = True) -> Metric:
    return Metric(
        name=name,
        group="distance",
        network="i3d",
        variant=variant,
        cheap=cheap,
        usual=usual,
        figures={name: FigureInfo(title, -1, explained)},
    )


METRICS: Mapping[str, Metric] = _by_name(
    [
        Metric(
            name="psnr",
            group="frames",
            always=True,
            figures={
                "psnr": FigureInfo("PSNR", 1, "the mean over frames; 100 for frames that equal the truth", "dB"),
                "identical_share": FigureInfo("Identical frames", 0, "share of frames that equal the truth exactly"),
            },
        ),
        Metric(
            name="ssim",
            group="frames",
            always=True,
            figures={"ssim": FigureInfo("SSIM", 1, "of grey levels, uniform 7×7 window, as DisCo's")},
        ),
        Metric(
            name="l1",
            group="frames",
            always=True,
            figures={"l1": FigureInfo("L1", -1, "mean absolute error", "grey levels, 0–255")},
        ),
        Metric(
            name="l1_disco",
            group="frames",
            always=True,
            figures={
                "l1_disco": FigureInfo("L1 (DisCo)", -1, "L1 divided by the number of pixels, as in DisCo's tables")
            },
        ),
        Metric(
            name="regions",
            group="regions",
            figures={
                "face_psnr": FigureInfo("Face PSNR", 1, "within the face's box", "dB"),
                "face_ssim": FigureInfo("Face SSIM", 1, "within the face's box"),
                "face_l1": FigureInfo("Face L1", -1, "within the face's box", "grey levels"),
                "hands_psnr": FigureInfo("Hands PSNR", 1, "within the hands' boxes", "dB"),
                "hands_ssim": FigureInfo("Hands SSIM", 1, "within the hands' boxes"),
                "hands_l1": FigureInfo("Hands L1", -1, "within the hands' boxes", "grey levels"),
            },
        ),
        Metric(
            name="dtssd",
            group="change",
            figures={"dtssd": FigureInfo("dtSSD", -1, "error of the change from frame to frame", "grey levels")},
        ),
        Metric(
            name="flicker",
            group="change",
            figures={
                "flicker": FigureInfo("Flicker", 0, "(255 − mean change) / 255: 1 is a still picture"),
                "flicker_difference": FigureInfo(
                    "Flicker, difference", 0, "from the truth's; above 0 is stiller than the truth"
                ),
            },
        ),
        Metric(
            name="warping_error",
            group="change",
            figures={
                "warping_error": FigureInfo("Warping error", -1, "change along the true motion"),
                "warping_error_real": FigureInfo(
                    "Warping error of the truth", 0, "the same of the true video: the least that can be reached"
                ),
            },
        ),
        Metric(
            name="hand_sharpness",
            group="regions",
            figures={
                "hand_sharpness_spearman": FigureInfo(
                    "Hand sharpness, Spearman", 1, "rank correlation with the true sharpness"
                ),
                "hand_sharpness_pearson": FigureInfo(
                    "Hand sharpness, Pearson", 1, "correlation of log(1 + s) with the truth's"
                ),
                "hand_sharpness_log_ratio": FigureInfo(
                    "Hand sharpness, log ratio", 0, "median; 0 is as sharp as the truth"
                ),
            },
        ),
        _lpips(
            "lpips_vgg_disco",
            network="lpips_vgg",
            variant="unsigned",
            title="LPIPS (VGG, DisCo)",
            explained="fed with [0, 1] instead of [−1, 1], as DisCo's code does",
            cheap=False,
        ),
        _lpips("lpips_vgg", "lpips_vgg", "signed", "LPIPS (VGG)", "perceptual distance", cheap=False),
        _lpips("lpips_alex", "lpips_alex", "signed", "LPIPS (AlexNet)", "perceptual distance", cheap=True),
        Metric(
            name="csim",
            group="identity",
            network="arcface",
            figures={
                "csim": FigureInfo("Identity (CSIM)", 1, "cosine of ArcFace embeddings with the reference's face"),
                "usable_faces": FigureInfo("Usable faces", 0, "share of frames in which identity can be measured"),
            },
        ),
        Metric(
            name="fid",
            group="distance",
            network="inception",
            figures={
                "fid": FigureInfo("FID", -1, "Fréchet distance of frames, as pytorch-fid's"),
                "kid": FigureInfo("KID", -1, "unbiased kernel distance of frames"),
            },
        ),
        Metric(
            name="fid_vid",
            group="distance",
            network="resnet3d",
            figures={"fid_vid": FigureInfo("FID-VID", -1, "Fréchet distance of 16-frame clips, 3D ResNet-50")},
        ),
        _fvd("fvd", "disco", "FVD (DisCo)", "Fréchet distance of 16-frame clips, DisCo's I3D", cheap=True),
        _fvd("fvd_videogpt", "videogpt", "FVD (VideoGPT)", "the same with VideoGPT's I3D"),
        # Only for comparisons with published numbers: at 16 frames it equals DisCo's.
        _fvd("fvd_tensorflow", "tensorflow", "FVD (TensorFlow)", "the same with the original I3D", usual=False),
    ]
)
"""All metrics by name. `regions` gives face and hands, each with L1, PSNR and SSIM."""

FIGURES: Mapping[str, FigureInfo] = MappingProxyType(
    {
        name: info
        for group in GROUPS
        for metric in METRICS.values()
        if metric.group == group
        for name, info in metric.figures.items()
    }
)
"""All figures of published metrics by name, in the order in which people look for them."""


def network_of(metric: str) -> str:
    """The network of a metric by name. Raises ValueError for a metric without one."""
    network = METRICS[metric].network
    if network is None:
        raise ValueError(f"{metric} needs no network")
    return network


def figure_key(metric: str, network: str, known: bool) -> str:
    """The name of a network metric's figure: the metric's own with published weights, else such as `fd[i3d]`."""
    return metric if known else f"{_UNPUBLISHED[METRICS[metric].group][0]}[{network}]"


def figure_info(name: str) -> FigureInfo:
    """The meaning of a figure by its name, also of one with unknown weights."""
    for prefix, better, explained in _UNPUBLISHED.values():
        if name.startswith(f"{prefix}["):
            return FigureInfo(name, better, explained)
    return FIGURES.get(name, FigureInfo(name, 0))


def in_order(names: Iterable[str]) -> list[str]:
    """Names of figures, each once, in the order of reports; unknown ones last, by name."""
    wanted = set(names)
    known = [name for name in FIGURES if name in wanted]
    return known + sorted(wanted - set(known))
