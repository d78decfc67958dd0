"""How a dancer is built."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Proportions:
    """A body: height in metres, the rest relative to an average one (1.0)."""

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
        """Height over the floor at rest of a point so far (m, of an average body) above the hip joints."""
        return self.hip_height + above_hips * self.scale * (2 - self.legs)
