"""What gateway processes tell each other of endpoints."""

from __future__ import annotations

from django.db import models
from typing_extensions import override


class Sighting(models.Model):
    """Written and read by gateway processes alone, forgotten after some minutes.

    `sightings` is a list of routing.core.sightings.Sighting as JSON. The table is not logged: a
    crash of the server empties it, and the processes go on with what they know.
    """

    process = models.CharField(max_length=40)
    told_at = models.DateTimeField(db_index=True)
    sightings = models.TextField()

    @override
    def __str__(self) -> str:
        return f"{self.process} at {self.told_at:%H:%M:%S}"
