"""From a ranking to the steps of a draw: groups tried one after another, and forks between ways."""

from __future__ import annotations

from collections.abc import Sequence

from routing.core.forks import Fork, Group
from routing.core.objectives import Eligible, Ranking


def groups(eligible: Sequence[Eligible], ranking: Ranking, tier: Sequence[int]) -> list[Group]:
    """Those with a share are drawn; those without follow in their given order."""
    weights = ranking.weights
    if weights is None:
        return [Group(tuple([eligible[i].endpoint for i in tier]))]
    drawn = [i for i in tier if weights[i] > 0]
    groups = []
    if drawn:
        endpoints = tuple([eligible[i].endpoint for i in drawn])
        groups.append(Group(endpoints, tuple([weights[i] for i in drawn])))
    if len(drawn) < len(tier):
        groups.append(Group(tuple([eligible[i].endpoint for i in tier if weights[i] <= 0])))
    return groups


def exploring_fork(
    eligible: Sequence[Eligible], ranking: Ranking, explored: Sequence[float]
) -> Fork:
    """One way for the usual order, and one for each candidate that is tried before the others."""
    usual = [eligible[i].endpoint for i in ranking.order]
    shares, ways = [1.0 - sum(explored)], [(Group(tuple(usual)),)]
    for i, share in enumerate(explored):
        if share > 0:
            first = eligible[i].endpoint
            shares.append(share)
            ways.append((Group((first, *(one for one in usual if one is not first))),))
    return Fork(tuple(shares), tuple(ways))


CanaryPlaces = tuple[float, list[int]]  # its share, and the indexes of its endpoints


def with_canary(shares: Sequence[float], canary: CanaryPlaces) -> list[float]:
    """The chance of being tried first, with the canary's taken out of the others'."""
    share, places = canary
    ours = sum(shares[i] for i in places)
    others = [value for i, value in enumerate(shares) if i not in places]
    left = sum(others)
    spread = (1.0 - share) / left if left else 0.0
    return [
        (share * (value / ours if ours else 1.0 / len(places))) if i in places else value * spread
        for i, value in enumerate(shares)
    ]


def canary_fork(eligible: Sequence[Eligible], ranking: Ranking, canary: CanaryPlaces) -> Fork:
    share, places = canary
    first = groups(eligible, ranking, [i for i in ranking.order if i in places])
    rest = groups(eligible, ranking, [i for i in ranking.order if i not in places])
    return Fork((share, 1.0 - share), ((*first, *rest), (*rest, *first)))


LEAST_SHARE_AT_HOME = 0.5  # of an even share: where draws have turned away, conversations do too


def worth_staying(objective: str, ranking: Ranking, i: int) -> bool:
    """Only for objectives that leave a choice. Others are kept at their word."""
    if objective in ("balanced", "weighted"):
        return ranking.shares[i] * len(ranking.shares) >= LEAST_SHARE_AT_HOME
    return objective == "slo-cheapest" and not ranking.notes[i]
