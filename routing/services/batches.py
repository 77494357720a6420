"""What people do with batches."""

from __future__ import annotations

from uuid import UUID

from django.db import connection, transaction

from routing.batches import book


def cancel(*, batch_id: UUID, project_id: int) -> bool:
    """False where it was not running any more. Lines that run come to their end."""
    with transaction.atomic(), connection.cursor() as cursor:
        return book.cancel(cursor, batch_id, project_id)
