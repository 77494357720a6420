"""Calls that carried an `Idempotency-Key`, and what they were answered with."""

from __future__ import annotations

from django.db import models
from typing_extensions import override

from routing.models.team import ApiKey


class IdempotentCall(models.Model):
    """The unique row is the lock. See routing.services.idempotent_calls."""

    api_key = models.ForeignKey(
        ApiKey, on_delete=models.CASCADE, related_name="idempotent_calls", db_index=False
    )
    digest = models.BinaryField(max_length=32, editable=False)  # of the client's key
    fingerprint = models.BinaryField(max_length=32, editable=False)  # of the request
    holder = models.UUIDField(editable=False)
    locked_until = models.DateTimeField()  # while there is no answer
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    key_id = models.CharField(max_length=32, blank=True, editable=False)
    sealed = models.BinaryField(null=True, editable=False)  # nonce, then ciphertext and tag

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["api_key", "digest"], name="idempotent_call_once")
        ]

    @override
    def __str__(self) -> str:
        return f"call {self.pk} of key {self.api_key_id}"
