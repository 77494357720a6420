"""Rate limits of keys and projects: set, explained, and looked up with their history."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import msgspec
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet

from routing.core.limit_pool import Amount, Caps, Pool
from routing.models import ApiKey, Limit, LimitPool, Project

CAPS = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")
LARGEST = 10**12  # more is a slip of the keyboard, and unlimited is said by leaving it empty


class LimitInvalid(ValueError):
    """Nothing was saved. `problems` are (field, message); field "" means the limit as a whole."""

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = list(problems)
        super().__init__(
            "; ".join(f"{field}: {text}" if field else text for field, text in self.problems)
        )


def set_limit(
    *,
    key: ApiKey | None = None,
    project: Project | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    concurrent_requests: int | None = None,
    user: User | None = None,
    note: str = "",
) -> Limit:
    """A new dated row, live in every gateway process within 2 s; the same again adds none.

    All three empty lift the limit. Raises LimitInvalid.
    """
    caps = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrent_requests": concurrent_requests,
    }
    if problems := check(key=key, project=project, caps=caps):
        raise LimitInvalid(problems)
    with transaction.atomic():
        _lock(key, project)
        current = current_limit(key=key, project=project)
        if current is not None and all(getattr(current, name) == caps[name] for name in CAPS):
            return current
        return Limit.objects.create(
            key=key, project=project, created_by=user, note=note.strip(), **caps
        )


def check(
    *, key: ApiKey | None, project: Project | None, caps: Mapping[str, int | None]
) -> list[tuple[str, str]]:
    """What `set_limit` would refuse, and why."""
    if (key is None) == (project is None):
        return [("", "choose either a key or a project")]
    problems = [(name, text) for name in CAPS if (text := _wrong_cap(caps.get(name)))]
    if key is not None and key.revoked_at is not None:
        problems.append(("key", f"{key.name} is revoked: it needs no limit any more"))
    if project is not None and project.archived_at is not None:
        problems.append(("project", f"{project.slug} is archived: restore it first"))
    return problems


def current_limit(*, key: ApiKey | None = None, project: Project | None = None) -> Limit | None:
    return history(key=key, project=project).first()


def current_limits(*, keys: Iterable[int] = (), projects: Iterable[int] = ()) -> dict[str, Limit]:
    """One query. Those that limit something, by the name of their pool: `key:12`, `project:3`."""
    rows = Limit.objects.filter(Q(key_id__in=list(keys)) | Q(project_id__in=list(projects)))
    newest = rows.order_by("key_id", "project_id", "-pk").distinct("key_id", "project_id")
    limited = [row for row in newest if any(getattr(row, name) is not None for name in CAPS)]
    return {pool_name(key_id=row.key_id, project_id=row.project_id): row for row in limited}


def pool_name(*, key_id: int | None = None, project_id: int | None = None) -> str:
    return f"key:{key_id}" if key_id is not None else f"project:{project_id}"


def history(*, key: ApiKey | None = None, project: Project | None = None) -> QuerySet[Limit]:
    """Newest first; the first one holds."""
    rows = Limit.objects.select_related("created_by", "key", "project")
    return rows.filter(key=key, project=project).order_by("-pk")


def explain(limit: Limit) -> str:
    """As one sentence: `At most 60 requests and 100,000 tokens per minute, 4 at a time.`"""
    per_minute = [
        f"{value:,} {unit}"
        for value, unit in (
            (limit.requests_per_minute, "requests"),
            (limit.tokens_per_minute, "tokens"),
        )
        if value is not None
    ]
    parts = [f"{' and '.join(per_minute)} per minute"] if per_minute else []
    if limit.concurrent_requests is not None:
        parts.append(f"{limit.concurrent_requests:,} at a time")
    return f"At most {', '.join(parts)}." if parts else "Unlimited."


def warnings(*, key: ApiKey | None, caps: Mapping[str, int | None]) -> list[str]:
    """What is allowed and probably not meant."""
    above = current_limit(project=key.project) if key is not None else None
    if key is None or above is None:
        return []
    return [
        f"Project {key.project.slug} allows {most:,} {name.replace('_', ' ')}, so the key's "
        f"{own:,} cannot be reached."
        for name in CAPS
        if (own := caps.get(name)) is not None
        and (most := getattr(above, name)) is not None
        and own > most
    ]


class InUse(msgspec.Struct, frozen=True):
    """Of the last minute, over all processes; about a second old."""

    requests: int = 0
    tokens: int = 0
    running: int = 0


def in_use(*, key: ApiKey | None = None, project: Project | None = None) -> InUse:
    """What counts against the limit now: used, reserved, or leased to a process."""
    name = pool_name(key_id=key.pk if key else None, project_id=project.pk if project else None)
    return in_use_of([name]).get(name, InUse())


def in_use_of(names: Iterable[str]) -> dict[str, InUse]:
    """One query. Pools that nothing was ever taken from are left out: nothing is in use there."""
    return {row.name: _in_use(row) for row in LimitPool.objects.filter(name__in=list(names))}


def _in_use(row: LimitPool) -> InUse:
    pool = msgspec.convert(row.state, Pool)
    pool.forget(time.time())
    taken: Amount = pool.free(Caps(0, 0, 0))
    return InUse(-taken.requests, -taken.tokens, -taken.places)


def _wrong_cap(value: int | None) -> str:
    if value is None:
        return ""
    if value < 1:
        return "at least 1, or empty for unlimited; to stop all requests, revoke the key"
    return f"at most {LARGEST:,}, or empty for unlimited" if value > LARGEST else ""


def _lock(key: ApiKey | None, project: Project | None) -> None:
    """Two admins at once get two rows in an order, not one row that both think is theirs."""
    if key is not None:
        ApiKey.objects.select_for_update().get(pk=key.pk)
    if project is not None:
        Project.objects.select_for_update().get(pk=project.pk)
