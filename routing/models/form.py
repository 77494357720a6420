"""How many answers were of the form that was asked for, endpoint by endpoint."""

from __future__ import annotations

from django.db import models
from typing_extensions import override


class FormCell(models.Model):
    """Answers with tool calls or JSON that gateway processes looked at, per quarter of an hour (UTC).

    Counted up by the processes every few seconds. A rate is made of it, never money: what a process
    that dies has counted in its last seconds is missing.
    """

    pk = models.CompositePrimaryKey("bucket_start", "endpoint_id")
    bucket_start = models.DateTimeField()
    endpoint_id = models.BigIntegerField()
    answers = models.BigIntegerField()
    sound = models.BigIntegerField()

    @override
    def __str__(self) -> str:
        return f"{self.sound} of {self.answers} from {self.bucket_start:%Y-%m-%d %H:%M}"
