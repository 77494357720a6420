"""How fast a kind of provider is, and how it slows down under load.

Figures are shaped after published measurements (providers facts, section 5), not measured here.
"""

from __future__ import annotations

import math
import re
from random import Random

import msgspec


class Profile(msgspec.Struct, frozen=True):
    """TTFT is lognormal around its median; output speed normal with 15 % deviation."""

    ttft_ms: float
    sigma: float
    speed_tps: float
    pieces: tuple[int, int]  # word pieces per streamed chunk, least and most
    replicas: int  # the load curve is per replica
    tail_share: float = 0.0  # share of requests whose TTFT is multiplied by tail_factor
    tail_factor: float = 1.0
    cold_share: float = 0.0  # share of requests that meet a cold start
    cold_s: tuple[float, float] = (10.0, 30.0)


PROFILES = {
    "wafer": Profile(200, 0.4, 1500, (6, 14), 4),
    "lpu": Profile(150, 0.5, 350, (2, 5), 6),
    "rdu": Profile(450, 0.5, 600, (3, 8), 4),
    "fast_gpu": Profile(400, 0.5, 180, (1, 4), 8, 0.01, 3.0),
    "gpu": Profile(450, 0.6, 90, (1, 2), 8, 0.01, 4.0),
    "budget_gpu": Profile(800, 0.8, 35, (1, 2), 6, 0.01, 6.0),
    "serverless": Profile(1500, 1.0, 20, (1, 1), 2, 0.0, 1.0, 0.05),
    "frontier": Profile(650, 0.6, 110, (1, 4), 16, 0.01, 3.0),
}

# (concurrent streams on one replica, seconds added to the TTFT, share of the lone speed)
LOAD_CURVE = (
    (1, 0.0, 1.0),
    (8, 0.02, 0.93),
    (16, 0.04, 0.87),
    (32, 0.11, 0.76),
    (64, 0.35, 0.61),
    (128, 1.24, 0.44),
    (256, 4.04, 0.26),
)

# Published tokens per second that a rule of thumb by size would miss.
MEASURED_TPS = {
    ("cerebras", "openai/gpt-oss-120b"): 1706,
    ("sambanova", "openai/gpt-oss-120b"): 693,
    ("fireworks", "openai/gpt-oss-120b"): 525,
    ("baseten", "openai/gpt-oss-120b"): 650,
    ("groq", "openai/gpt-oss-120b"): 480,
    ("groq", "meta-llama/llama-3.3-70b-instruct"): 330,
    ("groq", "meta-llama/llama-3.1-8b-instruct"): 780,
    ("novita", "deepseek-ai/deepseek-v4-pro"): 24.7,
    ("together", "deepseek-ai/deepseek-v4-pro"): 40.1,
    ("fireworks", "deepseek-ai/deepseek-v4-pro"): 45.4,
    ("deepinfra", "deepseek-ai/deepseek-v4-pro"): 34.6,
}
_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)b(?![\w])")
_ACTIVE = re.compile(r"(?<![\w.])a(\d+(?:\.\d+)?)b(?![\w])")
_LIGHT = ("flash", "mini", "nano", "haiku", "lite", "small", "turbo")
_HEAVY = ("opus", "-pro", "-r1", "kimi", "-max", "large")


def size_factor(model: str) -> float:
    """Speed relative to a 70-billion-parameter model, guessed from the name."""
    name = model.lower()
    billions = _ACTIVE.search(name) or _SIZE.search(name)
    if billions:
        return min(max(math.pow(70 / float(billions[1]), 0.35), 0.6), 2.2)
    if any(word in name for word in _LIGHT):
        return 1.6
    if any(word in name for word in _HEAVY):
        return 0.65
    return 1.0


def speed_tps(slug: str, model: str, profile: Profile) -> float:
    measured = MEASURED_TPS.get((slug, model.lower()))
    return float(measured) if measured else profile.speed_tps * size_factor(model)


def load_effect(streams: float) -> tuple[float, float]:
    """(seconds added to the TTFT, share of the lone speed) with so many streams on one replica."""
    below = LOAD_CURVE[0]
    for point in LOAD_CURVE:
        if streams <= point[0]:
            return _between(below, point, streams)
        below = point
    excess = streams / below[0]
    return below[1] * excess, below[2] / excess


def _between(
    low: tuple[int, float, float], high: tuple[int, float, float], streams: float
) -> tuple[float, float]:
    if low[0] == high[0]:
        return high[1], high[2]
    share = (max(streams, low[0]) - low[0]) / (high[0] - low[0])
    return low[1] + share * (high[1] - low[1]), low[2] + share * (high[2] - low[2])


class Pace(msgspec.Struct, frozen=True):
    """One request's timing. `speed_tps` is infinite and `ttft_s` zero in instant mode."""

    ttft_s: float
    speed_tps: float
    pieces: tuple[int, int]

    def due_s(self, pieces_before: int) -> float:
        """When the chunk after so many pieces leaves, in seconds after the request arrived."""
        return self.ttft_s + pieces_before / self.speed_tps

    def pieces_by(self, seconds: float, most: int) -> int:
        """How many of at most so many have been made so long after the request arrived."""
        generating_s = seconds - self.ttft_s
        return int(min(generating_s * self.speed_tps, most)) if generating_s > 0 else 0


def draw_pace(
    slug: str, model: str, profile: Profile, streams: int, speed: float, rng: Random
) -> Pace:
    """`speed` is the factor of the command line: 20 is twenty times faster, 0 is instant."""
    if speed <= 0:
        return Pace(0.0, math.inf, profile.pieces)
    ttft_s = profile.ttft_ms / 1000 * math.exp(rng.gauss(0.0, profile.sigma))
    if rng.random() < profile.tail_share:
        ttft_s *= profile.tail_factor
    if rng.random() < profile.cold_share:
        ttft_s += rng.uniform(*profile.cold_s)
    lone_tps = speed_tps(slug, model, profile) * min(max(rng.gauss(1.0, 0.15), 0.5), 1.5)
    added_s, share = load_effect(streams / profile.replicas)
    return Pace((ttft_s + added_s) / speed, lone_tps * share * speed, profile.pieces)
