"""A place for batches that a provider works on as a whole."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0010_share_sightings"),
    ]

    operations = [
        migrations.CreateModel(
            name="NativeBatch",
            fields=[
                (
                    "batch",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="at_provider",
                        serialize=False,
                        to="routing.batch",
                    ),
                ),
                ("tag", models.UUIDField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("new", "New"),
                            ("submitting", "Submitting"),
                            ("running", "Running"),
                            ("over", "Over"),
                        ],
                        default="new",
                        max_length=10,
                    ),
                ),
                ("native_id", models.CharField(blank=True, max_length=200)),
                ("completed", models.IntegerField(default=0)),
                ("failed", models.IntegerField(default=0)),
                ("is_cancelled", models.BooleanField(default=False)),
                ("submitted_at", models.DateTimeField(null=True)),
                ("next_at", models.DateTimeField()),
                ("tries", models.SmallIntegerField(default=0)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="routing.endpoint",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "native batches",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "over"), _negated=True),
                        fields=["next_at"],
                        name="native_batch_due",
                    )
                ],
            },
        ),
    ]
