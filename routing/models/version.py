"""The one row that says whether a gateway's snapshot is stale."""

from __future__ import annotations

from django.db import models
from typing_extensions import override


class SnapshotVersion(models.Model):
    """Raised by database triggers on every change of a table that a snapshot is made from."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.BigIntegerField(default=1)
    changed_at = models.DateTimeField(auto_now=True)

    @override
    def __str__(self) -> str:
        return f"snapshot {self.version}"
