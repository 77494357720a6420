"""Rollups: sums and histograms per quarter of an hour (UTC). Derived: refilled, never edited.

An id of 0 stands for none: no endpoint answered, the model is unknown. `outcome` is the request's.
"""

from __future__ import annotations

from django.db import models
from typing_extensions import override


class RequestCell(models.Model):
    pk = models.CompositePrimaryKey(
        "bucket_start",
        "project_id",
        "key_id",
        "kind",
        "model_id",
        "endpoint_id",
        "outcome",
        "simulated",
    )
    bucket_start = models.DateTimeField()
    project_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    kind = models.TextField()
    model_id = models.BigIntegerField()
    endpoint_id = models.BigIntegerField()  # the one that answered
    outcome = models.TextField()
    simulated = models.BooleanField()
    requests = models.BigIntegerField()
    rescued = models.BigIntegerField()  # ok after a failed attempt
    cancelled_early = models.BigIntegerField()  # the client left before the first token

    class Meta:
        db_table = "request_cell"

    @override
    def __str__(self) -> str:
        return f"requests of {self.bucket_start:%Y-%m-%d %H:%M}"


class AttemptCell(models.Model):
    pk = models.CompositePrimaryKey(
        "bucket_start",
        "project_id",
        "key_id",
        "kind",
        "model_id",
        "endpoint_id",
        "outcome",
        "attempt_outcome",
        "cost_status",
        "simulated",
    )
    bucket_start = models.DateTimeField()
    project_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    kind = models.TextField()
    model_id = models.BigIntegerField()
    endpoint_id = models.BigIntegerField()
    outcome = models.TextField()
    attempt_outcome = models.TextField()
    cost_status = models.TextField()  # after corrections
    simulated = models.BooleanField()
    attempts = models.BigIntegerField()
    censored = models.BigIntegerField()  # ended from outside before the first token
    input_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()
    cost_usd = models.DecimalField(max_digits=24, decimal_places=12)  # corrections included
    correction_usd = models.DecimalField(max_digits=24, decimal_places=12)

    class Meta:
        db_table = "attempt_cell"

    @override
    def __str__(self) -> str:
        return f"attempts of {self.bucket_start:%Y-%m-%d %H:%M}"


class LatencyCell(models.Model):
    """One row per histogram bin (`analytics.histogram`); merging is adding `n`.

    Not kept per key: with it the rollup would be as large as the log.
    """

    class Metric(models.TextChoices):
        TTFT = "ttft"  # attempts, from sending
        SPEED = "speed"  # attempts, output tokens per second
        E2E = "e2e"  # attempts, from sending
        REQUEST_TTFT = "request_ttft"  # requests, from receiving
        REQUEST_E2E = "request_e2e"

    pk = models.CompositePrimaryKey(
        "bucket_start", "endpoint_id", "project_id", "kind", "outcome", "simulated", "metric", "bin"
    )
    bucket_start = models.DateTimeField()
    endpoint_id = models.BigIntegerField()
    project_id = models.BigIntegerField()
    kind = models.TextField()
    outcome = models.TextField()
    simulated = models.BooleanField()
    metric = models.TextField(choices=Metric.choices)
    bin = models.SmallIntegerField()
    n = models.BigIntegerField()

    class Meta:
        db_table = "latency_cell"

    @override
    def __str__(self) -> str:
        return f"{self.metric} of {self.bucket_start:%Y-%m-%d %H:%M}"


class PolicyCell(models.Model):
    """What policies did, beside what was asked of them."""

    pk = models.CompositePrimaryKey("bucket_start", "project_id", "kind", "policy")
    bucket_start = models.DateTimeField()
    project_id = models.BigIntegerField()
    kind = models.TextField()
    policy = models.TextField()  # "" where nothing was decided
    requests = models.BigIntegerField()
    exploring = models.BigIntegerField()  # requests some of which go elsewhere, to measure
    exploration_usd = models.DecimalField(max_digits=24, decimal_places=12)  # expected, of that
    explored = models.FloatField(default=0.0)  # requests expected to go elsewhere
    usual_usd = models.DecimalField(  # expected without exploring, of requests that may explore
        max_digits=24, decimal_places=12, default=0
    )

    class Meta:
        db_table = "policy_cell"

    @override
    def __str__(self) -> str:
        return f"{self.policy} in {self.bucket_start:%Y-%m-%d %H:%M}"


class FillState(models.Model):
    """How far the rollups reach. STARTED that stays means that a run died: the next one repeats."""

    class State(models.TextChoices):
        STARTED = "started"
        DONE = "done"

    name = models.CharField(max_length=20, primary_key=True)
    state = models.CharField(max_length=10, choices=State.choices)
    end = models.DateTimeField(help_text="every bucket before this is complete")
    kept_from = models.DateField(
        null=True, help_text="raw rows of earlier days were dropped: their buckets are final"
    )
    updated_at = models.DateTimeField()  # the end of the last run that came to its end

    class Meta:
        db_table = "fill_state"

    @override
    def __str__(self) -> str:
        return f"{self.name}: {self.state} up to {self.end:%Y-%m-%d %H:%M}"


class DirtyBucket(models.Model):
    """A mark that rows were added to a bucket after its end. Append-only, and not unique: a writer
    never waits for a rollup that is reading the same bucket."""

    bucket_start = models.DateTimeField()

    class Meta:
        db_table = "dirty_bucket"
        indexes = [models.Index(fields=["bucket_start"], name="dirty_bucket_start")]

    @override
    def __str__(self) -> str:
        return f"{self.bucket_start:%Y-%m-%d %H:%M}"
