"""Models that do something else than chat."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routing", "0003_keep_responses")]

    operations = [
        migrations.AddField(
            model_name="model",
            name="kind",
            field=models.CharField(default="chat", max_length=20),
        ),
    ]
