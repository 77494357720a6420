"""Rate limits of keys and projects: what admins set, and what gateway processes share of it."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from typing_extensions import override

from routing.models.team import ApiKey, Project

AT_LEAST_ONE = [MinValueValidator(1)]


class Limit(models.Model):
    """Never edited: the newest row of a key or a project holds, older ones are its history."""

    key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, null=True, blank=True, related_name="limits"
    )
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, null=True, blank=True, related_name="limits"
    )
    requests_per_minute = models.PositiveBigIntegerField(
        null=True, blank=True, validators=AT_LEAST_ONE, help_text="empty means unlimited"
    )
    tokens_per_minute = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=AT_LEAST_ONE,
        help_text="input and output together; empty means unlimited",
    )
    concurrent_requests = models.PositiveBigIntegerField(
        null=True, blank=True, validators=AT_LEAST_ONE, help_text="empty means unlimited"
    )
    note = models.CharField(max_length=300, blank=True, help_text="why, for those who come later")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(key=None, project__isnull=False)
                | models.Q(key__isnull=False, project=None),
                name="limit_of_a_key_or_a_project",
            ),
            models.CheckConstraint(
                condition=~models.Q(requests_per_minute=0)
                & ~models.Q(tokens_per_minute=0)
                & ~models.Q(concurrent_requests=0),
                name="limit_lets_something_through",
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"limit of {self.key or self.project}"


class LimitPool(models.Model):
    """Written by gateway processes alone; `state` is routing.core.limit_pool.Pool as JSON.

    Two writers notice each other by `version`. A row that is deleted forgets the last minute.
    """

    name = models.CharField(max_length=40, primary_key=True)  # `key:12`, `project:3`
    version = models.BigIntegerField()
    state = models.JSONField()

    @override
    def __str__(self) -> str:
        return self.name
