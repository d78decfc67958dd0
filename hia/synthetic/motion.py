"""Choreography: a seeded dance as smooth functions of time, from keyed moves on a beat and slow harmonics."""

from dataclasses import dataclass

import numpy as np

from hia.synthetic.appearance import Proportions
from hia.synthetic.figure import Channels
from hia.synthetic.kinematics import Array, Harmonics, Pulses, Track

# Positions of the left wrist relative to the middle of the chest, of an arm 1 long (the right one is mirrored).
HAND_PLACES = {
    "low": (0.48, -0.78, 0.25),
    "hip": (0.40, -0.55, 0.30),
    "belly": (0.16, -0.42, 0.52),
    "chest": (0.18, -0.10, 0.62),
    "across": (-0.14, -0.08, 0.62),
    "shoulder": (0.50, 0.16, 0.42),
    "face": (0.42, 0.30, 0.46),
    "aside": (0.98, 0.02, 0.30),
    "out": (0.85, -0.48, 0.28),
    "raised": (0.62, 0.62, 0.30),
    "overhead": (0.24, 1.02, 0.18),
}
# Curls of thumb, index, middle, ring and little finger, and their spread.
GESTURES = {
    "relaxed": ((0.25, 0.18, 0.26, 0.32, 0.36), 0.3),
    "open": ((0.02, 0.03, 0.02, 0.03, 0.04), 0.9),
    "spread": ((0.0, 0.0, 0.0, 0.0, 0.0), 1.6),
    "flat": ((0.35, 0.03, 0.03, 0.03, 0.04), 0.0),
    "fist": ((0.75, 0.95, 1.0, 1.0, 0.95), 0.0),
    "point": ((0.6, 0.02, 0.92, 1.0, 0.95), 0.0),
    "peace": ((0.8, 0.02, 0.03, 0.95, 0.98), 1.3),
    "thumb": ((0.0, 0.95, 1.0, 1.0, 0.98), 0.0),
    "ring": ((0.5, 0.5, 0.15, 0.10, 0.08), 0.8),
    "claw": ((0.2, 0.4, 0.42, 0.42, 0.45), 1.2),
}
# Durations of a hand's move as shares of a beat, from a snap to a glide, and their probabilities.
MOVE_SHARES, MOVE_CHANCES = (0.45, 0.65, 0.9, 1.4), (0.32, 0.30, 0.23, 0.15)
LEAST_MOVE = 0.16


@dataclass(frozen=True)
class DanceStyle:
    """The range of a dance.

    reach, low: of hands to the side and below the chest, in arm's lengths; steps: probability of a step per beat;
    energy: factor of the body's movement.
    """

    reach: float
    low: float
    steps: float
    energy: float


# Strengths of the hands' swing between two moves, and their probabilities.
SWINGS, SWING_CHANCES = (0.0, 0.4, 1.0), (0.35, 0.2, 0.45)


@dataclass(frozen=True, eq=False)
class Dance:
    """A seeded dance of one body, defined at all times."""

    tracks: dict[str, Track]
    pulses: dict[str, Pulses]
    sways: dict[str, Harmonics]
    standing: Array

    def at(self, times: Array) -> Channels:
        """The channels of the dance at times [T] in seconds."""
        tracks = {name: track.at(times) for name, track in self.tracks.items()}
        pulses = {name: pulse.at(times) for name, pulse in self.pulses.items()}
        sways = {name: sway.at(times) for name, sway in self.sways.items()}
        count = len(times)
        hands = (tracks["hands"] + sways["hands"]).reshape(count, 2, 3)
        hands += tracks["swings"][..., None] * sways["swings"].reshape(count, 2, 3)
        wrists = tracks["wrists"].reshape(count, 2, 3) + (pulses["flicks"] + sways["wrists"]).reshape(count, 2, 3)
        feet = tracks["feet"].reshape(count, 2, 3).copy()
        feet[:, :, 1] += pulses["lifts"]
        pelvis = sways["pelvis"] + self.standing
        pelvis[:, [0, 2]] += feet[:, :, [0, 2]].mean(axis=1)
        pelvis[:, 1] += pulses["bounces"][:, 0]
        return Channels(
            pelvis=pelvis,
            pelvis_turn=sways["pelvis_turn"],
            chest_turn=sways["chest_turn"],
            head_turn=sways["head_turn"],
            hands=hands,
            wrists=wrists,
            curls=np.clip(tracks["curls"].reshape(count, 2, 5), 0, 1),
            spreads=tracks["spreads"],
            feet=feet,
            feet_turn=np.array([0.35, -0.35]) + sways["feet_turn"],
            blink=np.clip(pulses["blinks"][:, 0], 0, 1),
            mouth=np.clip(0.25 + sways["mouth"][:, 0], 0, 1),
        )


def choreograph(generator: np.random.Generator, body: Proportions, style: DanceStyle, seconds: float) -> Dance:
    """Draw a dance of at least `seconds`, with two more at either end so that it never starts from rest."""
    beat = generator.uniform(0.42, 0.62)
    beats = np.arange(-2.0, seconds + 2.0, beat)
    tracks = _hand_tracks(generator, style, beats, beat)
    pulses = {
        "flicks": _flicks(generator, beats, beat),
        "bounces": Pulses(beats, np.full(len(beats), beat), np.full((len(beats), 1), -0.035 * style.energy)),
        "blinks": _blinks(generator, seconds),
    }
    tracks["feet"], pulses["lifts"] = _steps(generator, body, style, beats, beat)
    standing = np.array([0.0, -0.022 * body.scale, 0.02])
    return Dance(tracks, pulses, _sways(generator, body, style), standing)


def _hand_tracks(generator: np.random.Generator, style: DanceStyle, beats: Array, beat: float) -> dict[str, Track]:
    """Positions and turns of hands, curls of fingers; on some beats both hands mirror each other."""
    places, gestures = list(HAND_PLACES.values()), list(GESTURES.values())
    keys: dict[str, list[Array]] = {name: [] for name in ("hands", "swings", "wrists", "curls", "spreads")}
    previous = np.zeros((2, 3))
    for beat_number in range(len(beats) + 1):
        chosen, shaped = generator.integers(len(places), size=2), generator.integers(len(gestures), size=2)
        if generator.random() < 0.45:
            chosen[1], shaped[1] = chosen[0], shaped[0]
        wanted = _within(np.array([places[choice] for choice in chosen]) + generator.normal(0, 0.06, (2, 3)), style)
        resting = (generator.random((2, 1)) < 0.25) & (beat_number > 0)
        previous = np.where(resting, previous, wanted)
        keys["hands"].append(previous.ravel())
        keys["swings"].append(generator.choice(SWINGS, size=2, p=SWING_CHANCES))
        keys["wrists"].append(
            np.stack(
                [generator.uniform(0.5, 2.6, 2), generator.normal(0, 0.28, 2), generator.normal(0, 0.12, 2)], axis=1
            ).ravel()
        )
        keys["curls"].append(np.array([gestures[shape][0] for shape in shaped]).ravel())
        keys["spreads"].append(np.array([gestures[shape][1] for shape in shaped]))
    durations = np.maximum(beat * generator.choice(MOVE_SHARES, size=len(beats), p=MOVE_CHANCES), LEAST_MOVE)
    late = generator.uniform(0, 0.15, len(beats)) * beat
    return {name: Track(beats + late, durations, np.array(values)) for name, values in keys.items()}


def _within(places: Array, style: DanceStyle) -> Array:
    """Hand places [2, 3] brought within the style's reach, and to the front of the head and the other arm."""
    x = np.clip(places[:, 0], -0.22, style.reach)
    y = np.clip(places[:, 1], -style.low, 1.1)
    nearest = np.where(np.abs(x) < 0.3, np.where(y < 0.75, 0.44, 0.12), 0.1)
    return np.stack([x, y, np.maximum(places[:, 2], nearest)], axis=1)


def _flicks(generator: np.random.Generator, beats: Array, beat: float) -> Pulses:
    """Quick turns of a hand about its wrist and back, now and then."""
    chosen = generator.random((len(beats), 2)) < 0.22
    strengths = generator.uniform(0.6, 1.0, (len(beats), 2, 3)) * generator.choice([-1, 1], (len(beats), 2, 3))
    heights = chosen[..., None] * strengths * (0.7, 0.9, 0.25)
    return Pulses(beats + 0.3 * beat, generator.uniform(0.22, 0.34, len(beats)), heights.reshape(len(beats), 6))


def _blinks(generator: np.random.Generator, seconds: float) -> Pulses:
    starts = np.cumsum(generator.uniform(0.8, 2.6, max(2, int(seconds)))) - 1.0
    return Pulses(starts, np.full(len(starts), 0.22), np.full((len(starts), 1), 1.2))


def _steps(
    generator: np.random.Generator, body: Proportions, style: DanceStyle, beats: Array, beat: float
) -> tuple[Track, Pulses]:
    """Tracks of feet that stay in place or step, one at a time, around their first position; and their lifts."""
    home = np.array([[0.13, 0.075, 0.0], [-0.13, 0.075, 0.0]]) * body.scale
    places, lifts, moving = [home.ravel()], np.zeros((len(beats), 2)), int(generator.integers(2))
    for number in range(len(beats)):
        here = places[-1].reshape(2, 3).copy()
        if generator.random() < style.steps:
            here[moving] = home[moving] + generator.normal(0, 1, 3) * np.array([0.055, 0, 0.05]) * body.scale
            lifts[number, moving] = generator.uniform(0.04, 0.10) * body.scale
            moving = 1 - moving
        places.append(here.ravel())
    durations = np.full(len(beats), 0.8 * beat)
    return Track(beats, durations, np.array(places)), Pulses(beats, durations, lifts)


def _sways(generator: np.random.Generator, body: Proportions, style: DanceStyle) -> dict[str, Harmonics]:
    """Slow movement of all channels that are not keyed."""
    energy = style.energy
    amplitudes = {
        "hands": np.tile([0.03, 0.03, 0.02], 2),
        "wrists": np.tile([0.10, 0.06, 0.03], 2),
        "pelvis": np.array([0.035, 0.006, 0.02]) * body.scale * energy,
        "pelvis_turn": np.array([0.16, 0.03, 0.07]) * energy,
        "chest_turn": np.array([0.28, 0.08, 0.13]) * energy,
        "head_turn": np.array([0.38, 0.16, 0.16]),
        "feet_turn": np.array([0.1, 0.1]),
        "mouth": np.array([0.35]),
    }
    sways = {name: Harmonics.random(generator, size) for name, size in amplitudes.items()}
    swings = np.tile([0.22, 0.32, 0.06], 2)
    return sways | {"swings": Harmonics.random(generator, swings, slowest=1.2, fastest=2.5)}
