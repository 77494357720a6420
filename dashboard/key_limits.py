"""The rate limits that hold for API keys, and how much of each is in use now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.urls import reverse

from routing.models import Limit
from routing.selectors.projects import KeyFacts
from routing.services import limits
from routing.services.limits import InUse


@dataclass(frozen=True, slots=True)
class Held:
    """One limit that a key is held to."""

    of_project: bool  # shared with the project's other keys
    sentence: str
    use: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    key: KeyFacts
    limits: tuple[Held, ...]


def with_limits(keys: Sequence[KeyFacts]) -> list[KeyRow]:
    """Two queries. A revoked key is held to nothing, because it is refused."""
    live = [key for key in keys if key.revoked_at is None]
    current = limits.current_limits(
        keys=[key.id for key in live], projects={key.project_id for key in live}
    )
    used = limits.in_use_of(current) if current else {}
    return [KeyRow(key, tuple(_held(key, current, used))) for key in keys]


def _held(key: KeyFacts, current: Mapping[str, Limit], used: Mapping[str, InUse]) -> Iterable[Held]:
    if key.revoked_at is not None:
        return
    pools = {
        limits.pool_name(key_id=key.id): False,
        limits.pool_name(project_id=key.project_id): True,
    }
    for name, of_project in pools.items():
        if name in current:
            limit = current[name]
            yield Held(of_project, limits.explain(limit), use_words(limit, used.get(name, InUse())))


def use_words(limit: Limit, used: InUse) -> str:
    """`12 of 60 requests, 3,400 of 100,000 tokens in the last minute; 1 of 4 at work`"""
    per_minute = [
        f"{n:,} of {most:,} {noun}"
        for n, most, noun in (
            (used.requests, limit.requests_per_minute, "requests"),
            (used.tokens, limit.tokens_per_minute, "tokens"),
        )
        if most is not None
    ]
    parts = [f"{', '.join(per_minute)} in the last minute"] if per_minute else []
    if limit.concurrent_requests is not None:
        parts.append(f"{used.running:,} of {limit.concurrent_requests:,} at work")
    return "; ".join(parts)


def admin_url(user: User) -> str:
    """Where limits are set. Empty for who may not."""
    return reverse("admin:routing_limit_changelist") if _may_set(user) else ""


def _may_set(user: User) -> bool:
    return user.is_staff and user.has_perm("routing.add_limit")
