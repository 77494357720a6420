from analytics.models.cells import AttemptCell, DirtyBucket, FillState, LatencyCell, RequestCell
from analytics.models.log import Attempt, ChargeCorrection, RequestLog

__all__ = [
    "Attempt",
    "AttemptCell",
    "ChargeCorrection",
    "DirtyBucket",
    "FillState",
    "LatencyCell",
    "RequestCell",
    "RequestLog",
]
