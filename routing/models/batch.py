"""What `/v1/files` and `/v1/batches` keep: files, and the lines of batches with their answers.

The tables are read and written by plain SQL (routing.batches), in gateways without Django too.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from typing_extensions import override

from routing.models.team import ApiKey, Project


class BatchFile(models.Model):
    """Its content lies in chunks, sealed and readable with its own project's id only."""

    class Status(models.TextChoices):
        UPLOADING = "uploading"  # not to be seen yet
        PROCESSED = "processed"

    id = models.UUIDField(primary_key=True, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="batch_files")
    filename = models.CharField(max_length=255)
    purpose = models.CharField(max_length=20)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.UPLOADING)
    size_bytes = models.BigIntegerField(default=0)
    lines = models.IntegerField(default=0)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, db_index=True)

    class Meta:
        ordering = ["-id"]

    @override
    def __str__(self) -> str:
        return f"file-{self.id.hex} ({self.filename})"


class BatchFileChunk(models.Model):
    """Whole lines of a file, about a mebibyte of them."""

    file = models.ForeignKey(BatchFile, on_delete=models.CASCADE, related_name="chunks")
    number = models.IntegerField()
    lines = models.IntegerField()
    key_id = models.CharField(max_length=32, editable=False)
    sealed = models.BinaryField(editable=False)  # packed; nonce, then ciphertext and tag

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["file", "number"], name="batch_file_chunk_once")
        ]

    @override
    def __str__(self) -> str:
        return f"chunk {self.number} of file {self.file_id}"


class Batch(models.Model):
    class Status(models.TextChoices):
        VALIDATING = "validating"
        IN_PROGRESS = "in_progress"
        FINALIZING = "finalizing"
        COMPLETED = "completed"
        FAILED = "failed"
        EXPIRED = "expired"
        CANCELLING = "cancelling"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="batches")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="batches")
    endpoint = models.CharField(max_length=60)
    completion_window = models.CharField(max_length=10)
    input_file_id = models.UUIDField()
    output_file_id = models.UUIDField(null=True)
    error_file_id = models.UUIDField(null=True)
    metadata = models.JSONField(null=True)
    model = models.CharField(max_length=300, blank=True)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.VALIDATING)
    native = models.CharField(max_length=8, default="auto")  # auto | native | off
    output_kept_s = models.IntegerField(null=True)
    total = models.IntegerField(default=0)
    # Of a batch that has ended; while it runs, its lines are counted.
    completed = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    usage = models.JSONField(null=True)
    # Null without an answer, and where that of one is not known: costs were not always kept.
    cost_usd = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    simulated = models.BooleanField(db_default=False)  # some of its cost
    errors = models.JSONField(null=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    in_progress_at = models.DateTimeField(null=True)
    finalizing_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    expired_at = models.DateTimeField(null=True)
    cancelling_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    served_at = models.DateTimeField()  # when lines were last taken: the longest waiting comes next

    class Meta:
        verbose_name_plural = "batches"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["project", "-id"], name="batch_of_project"),
            models.Index(
                fields=["served_at"],
                name="batch_open",
                condition=Q(status__in=["validating", "in_progress", "finalizing", "cancelling"]),
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"batch_{self.id.hex}"


class BatchLine(models.Model):
    """One line of an input file on its way to one answer.

    `try_no` and `holder` say who may go on with it: a worker that claimed it, then the gateway
    process that runs it. When `lease_until` is past, the line waits again.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="batch_lines")
    number = models.IntegerField()  # in the input file, from 1
    custom_id = models.TextField()
    chunk = models.IntegerField()
    offset = models.IntegerField()  # in the chunk, in bytes
    length = models.IntegerField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    try_no = models.SmallIntegerField(default=0)
    holder = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)
    request_id = models.UUIDField(null=True)
    status_code = models.SmallIntegerField(null=True)  # of the answer; null without one
    error_code = models.CharField(max_length=60, blank=True, default="")  # where no answer came
    cost_usd = models.DecimalField(max_digits=24, decimal_places=12, null=True)  # of the answer
    simulated = models.BooleanField(db_default=False)  # the answer
    key_id = models.CharField(max_length=32, blank=True, default="")
    sealed = models.BinaryField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["batch", "number"], name="batch_line_once")]
        indexes = [
            models.Index(
                fields=["batch", "number"],
                name="batch_line_waiting",
                condition=Q(state="waiting"),
            ),
            models.Index(
                fields=["lease_until"], name="batch_line_running", condition=Q(state="running")
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"line {self.number} of batch {self.batch_id}"


class BatchRunner(models.Model):
    """A place for one task that works on batches; taken until its time is over."""

    slot = models.IntegerField(primary_key=True)
    token = models.UUIDField()
    taken_until = models.DateTimeField()

    @override
    def __str__(self) -> str:
        return f"runner {self.slot}"


class NativeBatch(models.Model):
    """A batch that a provider works on as a whole, at its price for batches."""

    class State(models.TextChoices):
        NEW = "new"
        SUBMITTING = "submitting"  # perhaps the provider has it already
        RUNNING = "running"
        OVER = "over"

    batch = models.OneToOneField(
        Batch, on_delete=models.CASCADE, primary_key=True, related_name="at_provider"
    )
    tag = models.UUIDField()  # ours at the provider, and the holder of the lines
    endpoint = models.ForeignKey("routing.Endpoint", on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, choices=State.choices, default=State.NEW)
    native_id = models.CharField(max_length=200, blank=True)
    completed = models.IntegerField(default=0)  # as the provider last said
    failed = models.IntegerField(default=0)
    is_cancelled = models.BooleanField(default=False)  # the provider has been told
    submitted_at = models.DateTimeField(null=True)
    next_at = models.DateTimeField()  # when it is looked at again; later while someone does
    tries = models.SmallIntegerField(default=0)
    holder = models.UUIDField(null=True)  # whoever does its next step; another one's is void

    class Meta:
        indexes = [
            models.Index(fields=["next_at"], name="native_batch_due", condition=~Q(state="over"))
        ]
        verbose_name_plural = "native batches"

    @override
    def __str__(self) -> str:
        return f"{self.native_id or 'not submitted'} for batch {self.batch_id}"
