"""Files and batches as OpenAI's clients read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from routing.batches.book import BatchRow
from routing.batches.files import StoredFile
from routing.core.batches import BATCH, FILE, shown_id

_MOMENTS = (
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)


def file_object(file: StoredFile) -> dict[str, Any]:
    return {
        "id": shown_id(FILE, file.id),
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": _unix(file.created_at),
        "expires_at": _unix(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


def batch_object(batch: BatchRow) -> dict[str, Any]:
    errors = None if batch.errors is None else {"object": "list", "data": batch.errors}
    return {
        "id": shown_id(BATCH, batch.id),
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model or None,
        "errors": errors,
        "input_file_id": shown_id(FILE, batch.input_file_id),
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": batch.output_file_id and shown_id(FILE, batch.output_file_id),
        "error_file_id": batch.error_file_id and shown_id(FILE, batch.error_file_id),
        "created_at": _unix(batch.created_at),
        **{name: _unix(getattr(batch, name)) for name in _MOMENTS},
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": batch.usage,
        "metadata": batch.metadata,
    }


def page(objects: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": list(objects),
        "first_id": objects[0]["id"] if objects else None,
        "last_id": objects[-1]["id"] if objects else None,
        "has_more": has_more,
    }


def _unix(moment: dt.datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
