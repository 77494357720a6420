"""What an attempt used and costs."""

from __future__ import annotations

import msgspec

from routing.adapters.base import UsageNote
from routing.core.charges import Charge, CostStatus
from routing.core.pricing import NO_CHARGE
from routing.core.usage import Usage


class Money(msgspec.Struct, frozen=True):
    usage: Usage
    charge: Charge
    status: CostStatus

    def note(self) -> UsageNote:
        return UsageNote(f"{self.charge.amount_usd.normalize():f}", self.status)


NO_MONEY = Money(Usage(), NO_CHARGE, CostStatus.METERED)
