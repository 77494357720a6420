"""Places for files, for batches and for their lines."""

from __future__ import annotations


import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0007_promises_of_providers"),
    ]

    operations = [
        migrations.CreateModel(
            name="BatchRunner",
            fields=[
                ("slot", models.IntegerField(primary_key=True, serialize=False)),
                ("token", models.UUIDField()),
                ("taken_until", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Batch",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("endpoint", models.CharField(max_length=60)),
                ("completion_window", models.CharField(max_length=10)),
                ("input_file_id", models.UUIDField()),
                ("output_file_id", models.UUIDField(null=True)),
                ("error_file_id", models.UUIDField(null=True)),
                ("metadata", models.JSONField(null=True)),
                ("model", models.CharField(blank=True, max_length=300)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("validating", "Validating"),
                            ("in_progress", "In Progress"),
                            ("finalizing", "Finalizing"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("expired", "Expired"),
                            ("cancelling", "Cancelling"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="validating",
                        max_length=12,
                    ),
                ),
                ("native", models.CharField(default="auto", max_length=8)),
                ("output_kept_s", models.IntegerField(null=True)),
                ("total", models.IntegerField(default=0)),
                ("completed", models.IntegerField(default=0)),
                ("failed", models.IntegerField(default=0)),
                ("usage", models.JSONField(null=True)),
                ("errors", models.JSONField(null=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("in_progress_at", models.DateTimeField(null=True)),
                ("finalizing_at", models.DateTimeField(null=True)),
                ("completed_at", models.DateTimeField(null=True)),
                ("failed_at", models.DateTimeField(null=True)),
                ("expired_at", models.DateTimeField(null=True)),
                ("cancelling_at", models.DateTimeField(null=True)),
                ("cancelled_at", models.DateTimeField(null=True)),
                ("served_at", models.DateTimeField()),
                (
                    "key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="batches",
                        to="routing.apikey",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="batches",
                        to="routing.project",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "batches",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="BatchFile",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("filename", models.CharField(max_length=255)),
                ("purpose", models.CharField(max_length=20)),
                (
                    "status",
                    models.CharField(
                        choices=[("uploading", "Uploading"), ("processed", "Processed")],
                        default="uploading",
                        max_length=12,
                    ),
                ),
                ("size_bytes", models.BigIntegerField(default=0)),
                ("lines", models.IntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(db_index=True, null=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="batch_files",
                        to="routing.project",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="BatchFileChunk",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("lines", models.IntegerField()),
                ("key_id", models.CharField(editable=False, max_length=32)),
                ("sealed", models.BinaryField()),
                (
                    "file",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="chunks",
                        to="routing.batchfile",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="BatchLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("custom_id", models.TextField()),
                ("chunk", models.IntegerField()),
                ("offset", models.IntegerField()),
                ("length", models.IntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("running", "Running"), ("done", "Done")],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("try_no", models.SmallIntegerField(default=0)),
                ("holder", models.UUIDField(null=True)),
                ("lease_until", models.DateTimeField(null=True)),
                ("not_before", models.DateTimeField(null=True)),
                ("request_id", models.UUIDField(null=True)),
                ("status_code", models.SmallIntegerField(null=True)),
                ("error_code", models.CharField(blank=True, default="", max_length=60)),
                ("key_id", models.CharField(blank=True, default="", max_length=32)),
                ("sealed", models.BinaryField(null=True)),
                (
                    "batch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="batch_lines",
                        to="routing.batch",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(fields=["project", "-id"], name="batch_of_project"),
        ),
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(
                condition=models.Q(
                    ("status__in", ["validating", "in_progress", "finalizing", "cancelling"])
                ),
                fields=["served_at"],
                name="batch_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="batchfilechunk",
            constraint=models.UniqueConstraint(
                fields=("file", "number"), name="batch_file_chunk_once"
            ),
        ),
        migrations.AddIndex(
            model_name="batchline",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["batch", "number"],
                name="batch_line_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="batchline",
            index=models.Index(
                condition=models.Q(("state", "running")),
                fields=["lease_until"],
                name="batch_line_running",
            ),
        ),
        migrations.AddConstraint(
            model_name="batchline",
            constraint=models.UniqueConstraint(fields=("batch", "number"), name="batch_line_once"),
        ),
    ]
