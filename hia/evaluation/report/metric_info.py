"""What figures mean, for people: in which direction they are better, and in which unit they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Meaning:
    """better: 1 for larger, −1 for smaller, 0 for neither."""

    title: str
    better: int
    explained: str

    @property
    def arrow(self) -> str:
        """The direction in which it is better."""
        return {1: "↑", -1: "↓", 0: ""}[self.better]


MEANINGS: Mapping[str, Meaning] = MappingProxyType(
    {
        "psnr": Meaning("PSNR", 1, "dB, the mean over frames; 100 for frames that equal the truth"),
        "ssim": Meaning("SSIM", 1, "of grey levels, uniform 7×7 window, as DisCo's"),
        "l1": Meaning("L1", -1, "mean absolute error in grey levels, 0–255"),
        "l1_disco": Meaning("L1 (DisCo)", -1, "the same divided by the number of pixels, as in DisCo's tables"),
        "identical_share": Meaning("Identical frames", 0, "share of frames that equal the truth to the last bit"),
        "lpips_alex": Meaning("LPIPS (AlexNet)", -1, "perceptual distance"),
        "lpips_vgg": Meaning("LPIPS (VGG)", -1, "perceptual distance"),
        "lpips_vgg_disco": Meaning(
            "LPIPS (VGG, DisCo)", -1, "fed with [0, 1] instead of [−1, 1], as DisCo's code does"
        ),
        "face_psnr": Meaning("Face PSNR", 1, "dB, within the face's box"),
        "face_ssim": Meaning("Face SSIM", 1, "within the face's box"),
        "face_l1": Meaning("Face L1", -1, "grey levels, within the face's box"),
        "hands_psnr": Meaning("Hands PSNR", 1, "dB, within the hands' boxes"),
        "hands_ssim": Meaning("Hands SSIM", 1, "within the hands' boxes"),
        "hands_l1": Meaning("Hands L1", -1, "grey levels, within the hands' boxes"),
        "hand_sharpness_spearman": Meaning("Hand sharpness, Spearman", 1, "rank correlation with the true sharpness"),
        "hand_sharpness_pearson": Meaning("Hand sharpness, Pearson", 1, "correlation of log(1 + s) with the truth's"),
        "hand_sharpness_log_ratio": Meaning("Hand sharpness, log ratio", 0, "median; 0 is as sharp as the truth"),
        "csim": Meaning("Identity (CSIM)", 1, "cosine of ArcFace embeddings with the reference's face"),
        "usable_faces": Meaning("Usable faces", 0, "share of frames in which identity can be measured"),
        "dtssd": Meaning("dtSSD", -1, "error of the change from frame to frame, in grey levels"),
        "flicker": Meaning("Flicker", 0, "(255 − mean change) / 255: 1 is a still picture"),
        "flicker_difference": Meaning("Flicker, difference", 0, "from the truth's; above 0 is stiller than the truth"),
        "warping_error": Meaning("Warping error", -1, "change along the true motion"),
        "warping_error_real": Meaning(
            "Warping error of the truth", 0, "the same of the true video: what can be reached"
        ),
        "fid": Meaning("FID", -1, "Fréchet distance of frames, as pytorch-fid's"),
        "kid": Meaning("KID", -1, "unbiased kernel distance of frames"),
        "fid_vid": Meaning("FID-VID", -1, "Fréchet distance of 16-frame clips, 3D ResNet-50"),
        "fvd": Meaning("FVD (DisCo)", -1, "Fréchet distance of 16-frame clips, DisCo's I3D"),
        "fvd_videogpt": Meaning("FVD (VideoGPT)", -1, "the same with VideoGPT's I3D"),
        "fvd_tensorflow": Meaning("FVD (TensorFlow)", -1, "the same with the original I3D"),
    }
)

OWN_NETWORKS = {
    "fd[": (-1, "Fréchet distance with other than the published weights: not comparable with anybody's"),
    "distance[": (-1, "perceptual distance with other than the published weights: not comparable with anybody's"),
    "cosine[": (1, "identity with another network than ArcFace: not comparable with CSIM"),
}


def meaning_of(name: str) -> Meaning:
    """Of a figure by its name, also of one with unknown weights."""
    for beginning, (better, explained) in OWN_NETWORKS.items():
        if name.startswith(beginning):
            return Meaning(name, better, explained)
    return MEANINGS.get(name, Meaning(name, 0, ""))


def in_order(names: set[str]) -> list[str]:
    """Names of figures in the order in which people look for them."""
    known = [name for name in MEANINGS if name in names]
    return known + sorted(names - set(known))


def shown(value: float) -> str:
    """A figure with four digits."""
    return f"{value:.4g}".replace("-", "−")
