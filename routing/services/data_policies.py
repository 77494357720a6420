"""What providers promise about prompts and answers, as the catalog keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routing.core.catalog import NO_PROMISES, DataPolicy


def data_policy_of(stored: Mapping[str, Any]) -> DataPolicy:
    """Anything that is no clear promise counts as none."""
    try:
        return msgspec.convert(
            {name: stored.get(name) for name in DataPolicy.__struct_fields__}, DataPolicy
        )
    except msgspec.ValidationError:
        return NO_PROMISES
