"""Upstream API keys: encrypted, write-only."""

from __future__ import annotations

from django.db import models
from typing_extensions import override

from routing.models.catalog import Provider


class Credential(models.Model):
    class Origin(models.TextChoices):
        ENVIRONMENT = "environment"
        FILE = "file"
        ADMIN = "admin"
        SIMULATOR = "simulator"

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="credentials")
    name = models.CharField(max_length=120)
    sealed = models.TextField(editable=False)  # routing.services.credentials: v1.<kid>.<nonce>.<ct>
    last4 = models.CharField(max_length=4, editable=False)
    origin = models.CharField(max_length=12, choices=Origin.choices, default=Origin.ADMIN)
    created_at = models.DateTimeField(auto_now_add=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["provider", "name"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "name"], name="credential_name_once")
        ]

    @override
    def __str__(self) -> str:
        return f"{self.name} (…{self.last4})"
