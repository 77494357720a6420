"""What a provider promises about prompts, without which data policies exclude it."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routing", "0006_guard_limits")]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="data_policy",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text=(
                    "what it promises: trains_on_prompts (true or false), retention_days, "
                    "source_url"
                ),
            ),
        ),
    ]
