"""What `/v1/responses` keeps, so that a later request can go on from it."""

from __future__ import annotations

from django.db import models
from typing_extensions import override

from routing.models.team import Project


class StoredResponse(models.Model):
    """Encrypted, and readable with its own project's id only: see the service of the same name."""

    id = models.UUIDField(primary_key=True, editable=False)  # the request's id
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="stored_responses")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    key_id = models.CharField(max_length=32, editable=False)
    sealed = models.BinaryField(editable=False)  # nonce, then ciphertext and tag

    class Meta:
        ordering = ["-created_at"]

    @override
    def __str__(self) -> str:
        return f"resp_{self.id.hex}"
