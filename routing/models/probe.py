"""What the hub's own measurements have cost, day by day."""

from __future__ import annotations

from django.db import models
from typing_extensions import override


class ProbeDay(models.Model):
    """Raised by one conditional UPDATE before each probe, so that the daily cap holds."""

    day = models.DateField(primary_key=True)  # UTC
    spent_usd = models.DecimalField(max_digits=24, decimal_places=12, default=0)

    class Meta:
        ordering = ["-day"]

    @override
    def __str__(self) -> str:
        return f"{self.day}: {self.spent_usd.normalize():f} USD"
