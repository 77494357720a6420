"""Providers, models, endpoints and their dated prices."""

from __future__ import annotations

from django.db import models
from typing_extensions import override


class Provider(models.Model):
    class Lifecycle(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"  # by an admin: not routed to
        RETIRED = "retired"

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=120)
    dialect = models.CharField(max_length=40)  # key of routing.adapters.registry
    base_url = models.CharField(max_length=300)  # checked by routing.services.addresses
    simulated_base_url = models.CharField(
        max_length=300, blank=True, help_text="set while the provider simulator answers for it"
    )
    homepage = models.URLField(max_length=300, blank=True)
    key_env = models.JSONField(default=list, help_text="conventional environment variable names")
    quirks = models.JSONField(default=dict, blank=True)
    listing = models.JSONField(
        default=dict, blank=True, help_text="how its model listing tells prices; {} if it does not"
    )
    data_policy = models.JSONField(
        default=dict,
        blank=True,
        help_text="what it promises: trains_on_prompts (true or false), retention_days, source_url",
    )
    lifecycle = models.CharField(max_length=10, choices=Lifecycle.choices, default=Lifecycle.ACTIVE)
    source = models.CharField(max_length=300, blank=True)
    checked_on = models.DateField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    @override
    def __str__(self) -> str:
        return self.name

    @property
    def is_simulated(self) -> bool:
        return bool(self.simulated_base_url)

    @property
    def active_base_url(self) -> str:
        return self.simulated_base_url or self.base_url


class Model(models.Model):
    """A catalog entry with a canonical id, `org/Name` as on the Hugging Face Hub where one exists."""

    name = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=20, default="chat")  # routing.core.kinds.KINDS
    slug = models.SlugField(max_length=200, unique=True)
    title = models.CharField(max_length=200)
    maker = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    input_modalities = models.JSONField(default=list)
    output_modalities = models.JSONField(default=list)
    released_on = models.DateField(null=True, blank=True)
    aliases = models.JSONField(default=list, blank=True)
    source = models.CharField(max_length=300, blank=True)
    checked_on = models.DateField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    @override
    def __str__(self) -> str:
        return self.name


class Endpoint(models.Model):
    """A model at a provider. The unit that is routed to, priced and compared."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        DEPRECATED = "deprecated"
        PAUSED = "paused"
        RETIRED = "retired"

    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="endpoints")
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="endpoints")
    upstream_model = models.CharField(max_length=200)
    region = models.CharField(max_length=40, blank=True)
    quantization = models.CharField(max_length=20, blank=True)
    context_window = models.PositiveIntegerField(null=True, blank=True)
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    capabilities = models.JSONField(default=list)
    is_free = models.BooleanField(default=False)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.ACTIVE)
    retires_on = models.DateField(null=True, blank=True)
    source = models.CharField(max_length=300, blank=True)
    checked_on = models.DateField(null=True, blank=True)

    class Meta:
        ordering = ["model__name", "provider__name"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "upstream_model", "region"], name="endpoint_once"
            )
        ]

    @override
    def __str__(self) -> str:
        return f"{self.model.name} at {self.provider.name}"


class Price(models.Model):
    """One dated row: never edited, only superseded by a later one. A database trigger holds it."""

    class State(models.TextChoices):
        APPROVED = "approved"
        PENDING = "pending"  # a large jump, or sources that disagree: waits for a person
        REJECTED = "rejected"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="prices")
    meter = models.CharField(max_length=20)  # routing.core.usage.Meter
    unit_price_usd = models.DecimalField(max_digits=24, decimal_places=12)
    min_input_tokens = models.PositiveIntegerField(default=0)
    service_tier = models.CharField(max_length=20, blank=True)
    utc_from_minute = models.PositiveSmallIntegerField(null=True, blank=True)
    utc_until_minute = models.PositiveSmallIntegerField(null=True, blank=True)
    weekdays = models.PositiveSmallIntegerField(default=0)
    currency = models.CharField(max_length=3, default="USD")
    effective_from = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.APPROVED)
    source = models.CharField(max_length=60)
    source_url = models.CharField(max_length=300, blank=True)
    checked_on = models.DateField()
    note = models.CharField(max_length=300, blank=True)
    decided_by = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["endpoint", "meter", "-effective_from"]
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "endpoint",
                    "meter",
                    "min_input_tokens",
                    "service_tier",
                    "utc_from_minute",
                    "utc_until_minute",
                    "weekdays",
                    "effective_from",
                    "source",
                ],
                nulls_distinct=False,
                name="price_once",
            ),
            models.CheckConstraint(
                condition=models.Q(unit_price_usd__gte=0), name="price_not_negative"
            ),
            models.CheckConstraint(condition=models.Q(currency="USD"), name="price_in_usd"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.endpoint}: {self.meter} {self.unit_price_usd.normalize():f} USD"


class EndpointStats(models.Model):
    """What the last rollups say of an endpoint. Derived: rewritten, never a source of truth.

    The figures are of decayed observations: what is hours old counts for little.
    """

    endpoint = models.OneToOneField(
        Endpoint, on_delete=models.CASCADE, primary_key=True, related_name="stats"
    )
    ttft_p50_ms = models.FloatField(null=True)
    ttft_p95_ms = models.FloatField(null=True)
    speed_p50_tps = models.FloatField(null=True)
    speed_p95_tps = models.FloatField(null=True, help_text="that 95 of 100 answers reach")
    success_rate = models.FloatField(null=True)
    cached_share = models.FloatField(null=True, help_text="of the input, read from its cache")
    valid_share = models.FloatField(
        null=True, help_text="of answers with tool calls or a schema, that were of sound form"
    )
    valid_n = models.PositiveIntegerField(default=0)
    valid_weight = models.FloatField(default=0.0)
    n = models.PositiveIntegerField(default=0)
    weight = models.FloatField(default=0.0, help_text="observations, each decayed by its age")
    window_hours = models.PositiveSmallIntegerField(default=24)
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "endpoint stats"

    @override
    def __str__(self) -> str:
        return f"stats of {self.endpoint_id}"
