from analytics.models.cells import (
    AttemptCell,
    DirtyBucket,
    FillState,
    LatencyCell,
    PolicyCell,
    RequestCell,
)
from analytics.models.log import Attempt, ChargeCorrection, RequestLog

__all__ = [
    "Attempt",
    "AttemptCell",
    "ChargeCorrection",
    "DirtyBucket",
    "FillState",
    "LatencyCell",
    "PolicyCell",
    "RequestCell",
    "RequestLog",
]
