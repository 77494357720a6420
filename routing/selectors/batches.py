"""Batches as people look at them: how far they are, what they cost, what went wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Sum

from routing.batches.book import OPEN
from routing.core.batches import BATCH, FILE, LOCAL, shown_id
from routing.models import Batch, BatchFile, BatchLine, NativeBatch

MOMENTS = (
    ("Made", "created_at"),
    ("Begun", "in_progress_at"),
    ("Finalized from", "finalizing_at"),
    ("Cancelled from", "cancelling_at"),
    ("Completed", "completed_at"),
    ("Failed", "failed_at"),
    ("Expired", "expired_at"),
    ("Cancelled", "cancelled_at"),
)
_ENDED_AT = ("completed_at", "failed_at", "expired_at", "cancelled_at")


@dataclass(frozen=True, slots=True)
class FileFacts:
    name: str  # as clients see its id
    filename: str
    size_bytes: int
    lines: int
    expires_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class BatchFacts:
    id: UUID
    name: str  # as clients see its id
    project_id: int
    project: str
    key_id: int
    key: str
    endpoint: str
    model: str
    status: str
    provider: str  # the one that has taken it as a whole, or ""
    is_local: bool  # no provider takes it as a whole, or not any more
    total: int
    completed: int
    failed: int
    cost_usd: Decimal | None  # of the answers so far; None without any
    is_cost_known: bool  # costs were not always kept
    simulated: bool  # some of the cost
    created_at: dt.datetime
    expires_at: dt.datetime
    ended_at: dt.datetime | None
    moments: tuple[tuple[str, dt.datetime], ...]
    metadata: dict[str, str] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    errors: tuple[dict[str, Any], ...] = ()

    @property
    def done(self) -> int:
        return self.completed + self.failed

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_undecided(self) -> bool:
        """Whether a provider takes it as a whole."""
        return self.is_open and not self.is_local and not self.provider

    @property
    def was_begun(self) -> bool:
        return bool(self.total)

    @property
    def is_cancellable(self) -> bool:
        return self.status in ("validating", "in_progress")


def batches_of(
    project_ids: frozenset[int] | None, *, before: UUID | None = None, limit: int
) -> list[BatchFacts]:
    """The newest first; None for all projects. Three queries."""
    found = _seen(project_ids)
    if before is not None:
        found = found.filter(id__lt=before)
    return _facts(list(found.order_by("-id")[:limit]))


def batch_of(project_ids: frozenset[int] | None, batch_id: UUID) -> BatchFacts | None:
    found = _facts(list(_seen(project_ids).filter(id=batch_id)))
    return found[0] if found else None


def files_of(batch: BatchFacts) -> list[tuple[str, FileFacts]]:
    """Those that are still there: what each is, and the file. Two queries."""
    row = Batch.objects.get(pk=batch.id)
    named = (
        ("Input", row.input_file_id),
        ("Answers", row.output_file_id),
        ("Errors", row.error_file_id),
    )
    there = BatchFile.objects.filter(project_id=batch.project_id).in_bulk(
        [file_id for _, file_id in named if file_id is not None]
    )
    return [(label, _file_facts(there[file_id])) for label, file_id in named if file_id in there]


def _file_facts(file: BatchFile) -> FileFacts:
    return FileFacts(
        shown_id(FILE, file.id), file.filename, file.size_bytes, file.lines, file.expires_at
    )


def _seen(project_ids: frozenset[int] | None) -> QuerySet[Batch]:
    found = Batch.objects.select_related("project", "key")
    return found if project_ids is None else found.filter(project_id__in=project_ids)


@dataclass(frozen=True, slots=True)
class _SoFar:
    completed: int = 0
    failed: int = 0
    cost_usd: Decimal | None = None
    is_cost_known: bool = True
    simulated: bool = False


def _facts(rows: Sequence[Batch]) -> list[BatchFacts]:
    so_far = _counted([row.pk for row in rows if row.status in OPEN])
    natives = {
        native.batch_id: native
        for native in NativeBatch.objects.filter(batch__in=rows).select_related(
            "endpoint__provider"
        )
    }
    return [_batch_facts(row, so_far.get(row.pk), natives.get(row.pk)) for row in rows]


def _counted(open_ids: Sequence[UUID]) -> dict[UUID, _SoFar]:
    if not open_ids:
        return {}
    good = Q(status_code=200)
    not_known = good & Q(cost_usd=None)
    found = (
        BatchLine.objects.filter(batch_id__in=open_ids, state=BatchLine.State.DONE)
        .values("batch_id")
        .annotate(
            good=Count("id", filter=good),
            all=Count("id"),
            usd=Sum("cost_usd"),
            not_known=Count("id", filter=not_known),
            simulated=Count("id", filter=Q(simulated=True)),
        )
    )
    return {
        row["batch_id"]: _SoFar(
            completed=row["good"],
            failed=row["all"] - row["good"],
            cost_usd=row["usd"],
            is_cost_known=not row["not_known"],
            simulated=bool(row["simulated"]),
        )
        for row in found
    }


def _batch_facts(row: Batch, here: _SoFar | None, native: NativeBatch | None) -> BatchFacts:
    is_known = row.cost_usd is not None or not row.completed
    so_far = _SoFar(row.completed, row.failed, row.cost_usd, is_known, row.simulated)
    if row.status in OPEN:
        so_far = here or _SoFar()
        if native is not None and native.state == NativeBatch.State.RUNNING:
            so_far = replace(
                so_far,
                completed=so_far.completed + native.completed,
                failed=so_far.failed + native.failed,
            )
    ended = [getattr(row, name) for name in _ENDED_AT if getattr(row, name) is not None]
    return BatchFacts(
        id=row.pk,
        name=shown_id(BATCH, row.pk),
        project_id=row.project_id,
        project=row.project.name,
        key_id=row.key_id,
        key=row.key.name,
        endpoint=row.endpoint,
        model=row.model,
        status=row.status,
        provider=native.endpoint.provider.name if native is not None else "",
        is_local=row.native == LOCAL,
        total=row.total,
        completed=so_far.completed,
        failed=so_far.failed,
        cost_usd=so_far.cost_usd,
        is_cost_known=so_far.is_cost_known,
        simulated=so_far.simulated,
        created_at=row.created_at,
        expires_at=row.expires_at,
        ended_at=ended[0] if ended else None,
        moments=tuple(
            (label, getattr(row, name)) for label, name in MOMENTS if getattr(row, name) is not None
        ),
        metadata=row.metadata or {},
        usage=row.usage or {},
        errors=tuple(row.errors or ()),
    )
