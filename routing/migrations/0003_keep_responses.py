"""A place for what `/v1/responses` keeps."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routing", "0002_guard_history_and_announce_changes")]

    operations = [
        migrations.CreateModel(
            name="StoredResponse",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(db_index=True)),
                ("key_id", models.CharField(editable=False, max_length=32)),
                ("sealed", models.BinaryField()),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="stored_responses",
                        to="routing.project",
                    ),
                ),
            ],
            options={"ordering": ["-created_at"]},
        ),
    ]
