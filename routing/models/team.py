"""Who uses the hub: organizations, their projects, and the tokens that act for them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from typing_extensions import override


class Organization(models.Model):
    """The billing account."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    @override
    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        MEMBER = "member"
        BILLING_VIEWER = "billing_viewer"

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.MEMBER)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_once")
        ]

    @override
    def __str__(self) -> str:
        return f"{self.user} in {self.organization} ({self.role})"


class Project(models.Model):
    """Owns keys; the unit that spend is shown and limited by."""

    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="projects"
    )
    slug = models.SlugField()
    name = models.CharField(max_length=120)
    policy = models.ForeignKey(
        "routing.Policy", on_delete=models.SET_NULL, null=True, blank=True, related_name="projects"
    )
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "slug"], name="project_slug_once")
        ]

    @override
    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """A client's token for `/v1/*`. Only its HMAC is stored; it is shown once."""

    class Kind(models.TextChoices):
        TRAFFIC = "traffic"
        PROBE = "probe"  # the hub's own measurements; cannot be used by a client
        PLAYGROUND = "playground"  # the side-by-side page; cannot be used by a client

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.TRAFFIC)
    start = models.CharField(max_length=16, help_text="first characters, to recognise it by")
    last4 = models.CharField(max_length=4)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    policy = models.ForeignKey(
        "routing.Policy", on_delete=models.SET_NULL, null=True, blank=True, related_name="api_keys"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]

    @override
    def __str__(self) -> str:
        return f"{self.name} ({self.start}…{self.last4})"


class AccessToken(models.Model):
    """A token for `/api/v1/*`. It has no right on the data plane, nor the other way round."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="access_tokens"
    )
    name = models.CharField(max_length=120)
    scopes = models.JSONField(default=list, help_text="billing:read, catalog:read, requests:read")
    start = models.CharField(max_length=16)
    last4 = models.CharField(max_length=4)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    @override
    def __str__(self) -> str:
        return f"{self.name} ({self.start}…{self.last4})"
