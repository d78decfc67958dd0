"""A dancer's body, clothes, hair and colours, drawn at random from a seed. Colours are sRGB in [0, 1]."""

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[float, float, float]
Pattern = Literal["plain", "stripes", "bars", "checks", "dots", "print"]
HairStyle = Literal["short", "crop", "bob", "long", "bun", "afro"]
Legwear = Literal["trousers", "leggings", "shorts", "skirt"]


@dataclass(frozen=True)
class Proportions:
    """A body: height in metres, the rest relative to an average one (1.0); lengths of its parts in metres."""

    height: float = 1.70
    legs: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0
    bust: float = 0.0
    girth: float = 1.0
    head: float = 1.0
    hands: float = 1.0

    @property
    def scale(self) -> float:
        return self.height / 1.70

    @property
    def hand_length(self) -> float:
        return 0.195 * self.scale * self.hands

    @property
    def upper_arm(self) -> float:
        return 0.275 * self.scale

    @property
    def forearm(self) -> float:
        return 0.245 * self.scale

    @property
    def thigh(self) -> float:
        return 0.415 * self.scale * self.legs

    @property
    def shin(self) -> float:
        return 0.405 * self.scale * self.legs

    @property
    def ankle(self) -> float:
        return 0.075 * self.scale

    @property
    def hip_height(self) -> float:
        return self.thigh + self.shin + self.ankle

    def trunk(self, above_hips: float) -> float:
        """Height over the floor, at rest, of the point `above_hips` m above an average body's hip joints; m."""
        return self.hip_height + above_hips * self.scale * (2 - self.legs)


@dataclass(frozen=True)
class Cloth:
    """A fabric: two colours and how they alternate; `repeats` of the pattern around a body."""

    colour: Colour
    second: Colour
    pattern: Pattern
    repeats: int


@dataclass(frozen=True)
class Appearance:
    """One dancer's looks.

    sleeves: share of the arm that they cover; neckline: depth of the collar as a share of the trunk; face: width, lift
    of the brows, fullness of the lips, smile, each in [−1, 1].
    """

    body: Proportions
    skin: Colour
    hair: Colour
    hair_style: HairStyle
    eyes: Colour
    lips: Colour
    beard: bool
    top: Cloth
    sleeves: float
    neckline: float
    tucked: bool
    legwear: Legwear
    bottom: Cloth
    shoes: Colour
    face: tuple[float, float, float, float]


# From very fair to very dark.
SKINS: tuple[Colour, ...] = (
    *((0.96, 0.82, 0.74), (0.93, 0.76, 0.65), (0.87, 0.68, 0.54), (0.78, 0.58, 0.44)),
    *((0.66, 0.46, 0.33), (0.53, 0.35, 0.25), (0.44, 0.29, 0.21), (0.37, 0.24, 0.18)),
)
HAIRS: tuple[Colour, ...] = (
    *((0.08, 0.06, 0.05), (0.16, 0.10, 0.07), (0.30, 0.19, 0.11), (0.45, 0.29, 0.15)),
    *((0.72, 0.55, 0.30), (0.50, 0.18, 0.09), (0.55, 0.53, 0.52), (0.60, 0.16, 0.34)),
)
EYES: tuple[Colour, ...] = ((0.26, 0.15, 0.08), (0.20, 0.36, 0.22), (0.22, 0.38, 0.58), (0.33, 0.30, 0.28))
PATTERNS: tuple[Pattern, ...] = ("plain", "stripes", "bars", "checks", "dots", "print")
HAIR_STYLES: tuple[HairStyle, ...] = ("short", "crop", "bob", "long", "bun", "afro")
LEGWEAR: tuple[Legwear, ...] = ("trousers", "leggings", "shorts", "skirt")


def random_appearance(generator: np.random.Generator) -> Appearance:
    """Draw a dancer from the palettes above and from usual proportions."""
    feminine = bool(generator.random() < 0.5)
    skin = SKINS[generator.integers(len(SKINS))]
    top, bottom = _cloth(generator, colourful=True), _cloth(generator, colourful=False)
    legwear = LEGWEAR[generator.choice(4, p=(0.25, 0.25, 0.2, 0.3) if feminine else (0.5, 0.2, 0.3, 0.0))]
    style = HAIR_STYLES[
        generator.choice(6, p=(0.05, 0.1, 0.3, 0.3, 0.2, 0.05) if feminine else (0.4, 0.35, 0, 0.1, 0, 0.15))
    ]
    rosy = np.array([0.72, 0.22, 0.24]) if feminine else np.array([0.62, 0.34, 0.30])
    return Appearance(
        body=_body(generator, feminine),
        skin=skin,
        hair=HAIRS[generator.choice(8, p=(0.24, 0.2, 0.17, 0.12, 0.1, 0.07, 0.06, 0.04))],
        hair_style=style,
        eyes=EYES[generator.integers(len(EYES))],
        lips=_mixed(skin, rosy, 0.55 if feminine else 0.35),
        beard=bool(not feminine and generator.random() < 0.35),
        top=top,
        sleeves=float(generator.choice([0.0, 0.28, 0.34, 0.62, 0.94], p=(0.14, 0.26, 0.24, 0.12, 0.24))),
        neckline=float(generator.choice([0.0, 0.10, 0.17])),
        tucked=bool(generator.random() < 0.45),
        legwear=legwear,
        bottom=bottom,
        shoes=_colour(generator, 0.0, 0.6, 0.12, 0.95),
        face=tuple(generator.uniform(-1, 1, 4).tolist()),
    )


def _body(generator: np.random.Generator, feminine: bool) -> Proportions:
    return Proportions(
        height=float(np.clip(generator.normal(1.66 if feminine else 1.78, 0.07), 1.45, 1.98)),
        legs=float(generator.uniform(0.97, 1.04)),
        shoulders=float(generator.uniform(0.88, 0.98) if feminine else generator.uniform(1.0, 1.12)),
        hips=float(generator.uniform(1.02, 1.15) if feminine else generator.uniform(0.9, 1.0)),
        bust=float(generator.uniform(0.5, 1.0) if feminine else 0.0),
        girth=float(np.clip(generator.normal(0.98, 0.10), 0.82, 1.28)),
        head=float(generator.uniform(1.04, 1.16)),
        hands=float(generator.uniform(1.0, 1.12)),
    )


def _cloth(generator: np.random.Generator, colourful: bool) -> Cloth:
    first = _colour(generator, 0.35 if colourful else 0.0, 0.9 if colourful else 0.5, 0.3, 0.92)
    second = _colour(generator, 0.1, 0.9, 0.15, 0.98)
    # Colours of one brightness would hide the pattern.
    while abs(sum(first) - sum(second)) < 0.5:
        second = _colour(generator, 0.0, 0.7, 0.0, 1.0)
    # Half way: printed cloth, not signal flags.
    second = _mixed(second, np.array(first), 0.6)
    chances = (0.28, 0.16, 0.14, 0.14, 0.14, 0.14) if colourful else (0.66, 0.06, 0.08, 0.10, 0.05, 0.05)
    return Cloth(first, second, PATTERNS[generator.choice(6, p=chances)], int(generator.integers(5, 12)))


def _colour(
    generator: np.random.Generator, least_saturated: float, most_saturated: float, darkest: float, brightest: float
) -> Colour:
    return colorsys.hsv_to_rgb(
        generator.random(),
        generator.uniform(least_saturated, most_saturated),
        generator.uniform(darkest, brightest),
    )


def _mixed(colour: Colour, other: np.ndarray, share: float) -> Colour:
    red, green, blue = ((1 - share) * np.array(colour) + share * other).tolist()
    return red, green, blue
