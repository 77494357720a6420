"""Routing policies: a name, and versions that are never edited once written."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from typing_extensions import override


class Policy(models.Model):
    name = models.SlugField(
        unique=True, help_text="a model suffix: a client asks for it as org/Model:name"
    )
    description = models.CharField(max_length=300, blank=True)
    is_default = models.BooleanField(default=False)
    current = models.ForeignKey(
        "PolicyVersion", on_delete=models.PROTECT, null=True, related_name="+", editable=False
    )
    archived_at = models.DateTimeField(
        null=True, blank=True, help_text="an archived policy keeps its history and routes nothing"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "policies"
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=models.Q(is_default=True),
                name="one_default_policy",
            )
        ]

    @override
    def __str__(self) -> str:
        return self.name


class PolicyVersion(models.Model):
    """`document` is routing.core.catalog.PolicyDocument as JSON."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    document = models.JSONField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["policy", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "version"], name="policy_version_once")
        ]

    @override
    def __str__(self) -> str:
        return f"{self.policy.name} v{self.version}"
