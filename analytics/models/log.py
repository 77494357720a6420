"""The log: one row per request and one per attempt, in daily partitions. Written by the recorder.

The tables are made by SQL in the first migration (Django knows no partitions), so these models are
unmanaged. Field names are those of `routing.core.record`. The ids are no foreign keys: the log
outlives the catalog and must never stop a change of it.
"""

from __future__ import annotations

from django.db import models
from typing_extensions import override


class RequestLog(models.Model):
    pk = models.CompositePrimaryKey("day", "request_id")
    day = models.DateField()  # UTC, told by the request id
    request_id = models.UUIDField()
    received_at = models.DateTimeField()
    key_id = models.BigIntegerField()
    project_id = models.BigIntegerField()
    organization_id = models.BigIntegerField()
    kind = models.TextField()
    surface = models.TextField()
    requested_model = models.TextField()
    model_id = models.BigIntegerField(null=True)
    stream = models.BooleanField()
    outcome = models.TextField()
    http_status = models.IntegerField(null=True)  # null: the hub crashed before it knew
    error_code = models.TextField()
    attempts = models.IntegerField()
    endpoint_id = models.BigIntegerField(null=True)
    ttft_ms = models.FloatField(null=True)
    e2e_ms = models.FloatField(null=True)
    overhead_ms = models.FloatField(null=True)
    simulated = models.BooleanField()
    policy = models.TextField()
    policy_version = models.IntegerField()
    decision = models.JSONField(null=True)  # routing.core.decision.Decision as an array

    class Meta:
        managed = False
        db_table = "request_log"

    @override
    def __str__(self) -> str:
        return f"request {self.request_id}"


class Attempt(models.Model):
    pk = models.CompositePrimaryKey("day", "request_id", "attempt_no")
    day = models.DateField()
    request_id = models.UUIDField()
    attempt_no = models.IntegerField()
    # who and where, from the intent
    started_at = models.DateTimeField()
    received_at = models.DateTimeField()
    endpoint_id = models.BigIntegerField()
    credential_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    project_id = models.BigIntegerField()
    organization_id = models.BigIntegerField()
    kind = models.TextField()
    surface = models.TextField()
    requested_model = models.TextField()
    model_id = models.BigIntegerField()
    upstream_model = models.TextField()
    stream = models.BooleanField()
    input_estimate = models.BigIntegerField()
    simulated = models.BooleanField()
    service_tier = models.TextField()
    policy = models.TextField()
    policy_version = models.IntegerField()
    # how it ended
    outcome = models.TextField()
    http_status = models.IntegerField(null=True)
    error_code = models.TextField()
    error_message = models.TextField()
    failure = models.TextField()
    response_model = models.TextField()
    provider_request_id = models.TextField()
    finish_reason = models.TextField()
    # what it used
    input_total = models.BigIntegerField(null=True)
    cache_read = models.BigIntegerField(null=True)
    cache_write_5m = models.BigIntegerField(null=True)
    cache_write_1h = models.BigIntegerField(null=True)
    output_total = models.BigIntegerField(null=True)
    reasoning = models.BigIntegerField(null=True)
    images = models.BigIntegerField(null=True)
    audio_seconds = models.BigIntegerField(null=True)
    searches = models.BigIntegerField(null=True)
    characters = models.BigIntegerField(null=True)
    pixels = models.BigIntegerField(null=True)
    provider_cost_usd = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    usage_source = models.TextField()
    usage_raw = models.TextField()
    # what it cost; corrections stand apart, in charge_correction
    cost_usd = models.DecimalField(max_digits=24, decimal_places=12)
    cost_status = models.TextField()
    lines = models.JSONField()  # meter, quantity, price_id, amount_usd
    # how long it took
    headers_ms = models.FloatField(null=True)
    ttft_ms = models.FloatField(null=True)
    ttfa_ms = models.FloatField(null=True)
    last_chunk_ms = models.FloatField(null=True)
    e2e_ms = models.FloatField(null=True)  # null: crashed
    content_frames = models.IntegerField()
    first_chunk_tokens = models.IntegerField(null=True)
    dropped_params = models.TextField()  # comma-separated

    class Meta:
        managed = False
        db_table = "attempt"

    @override
    def __str__(self) -> str:
        return f"attempt {self.request_id}:{self.attempt_no}"


class ChargeCorrection(models.Model):
    """What was learned later about the cost of an attempt. Append-only: a trigger holds it.

    The true cost of an attempt is `attempt.cost_usd` plus the `delta_usd` of its corrections, and
    its status that of the last correction. The token columns are differences too.
    """

    day = models.DateField()
    request_id = models.UUIDField()
    attempt_no = models.IntegerField()
    source = models.CharField(max_length=20)  # settlement
    delta_usd = models.DecimalField(max_digits=24, decimal_places=12)
    cost_status = models.CharField(max_length=20)
    input_delta = models.BigIntegerField(default=0)
    cache_read_delta = models.BigIntegerField(default=0)
    cache_write_delta = models.BigIntegerField(default=0)
    output_delta = models.BigIntegerField(default=0)
    reasoning_delta = models.BigIntegerField(default=0)
    lines = models.JSONField(default=list)  # of the corrected charge, as in attempt.lines
    note = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "charge_correction"
        constraints = [
            models.UniqueConstraint(
                fields=["request_id", "attempt_no", "source"], name="charge_correction_once"
            )
        ]
        indexes = [models.Index(fields=["day"], name="charge_correction_day")]

    @override
    def __str__(self) -> str:
        return f"{self.source} of {self.request_id}:{self.attempt_no}"
