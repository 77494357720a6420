"""Which of the hub's keys is sent to a provider that has refused one of them."""

from __future__ import annotations

from routing.core.catalog import Credential, Endpoint

REST_S = 60.0  # a refused key is not asked for so long, while there is another


class RefusedKeys:
    """Of one gateway process. Empty but in trouble, so that the common case is one look."""

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until: dict[int, float] = {}  # by the credential's id, monotonic seconds

    def refuse(self, credential_id: int, now: float) -> None:
        self.until[credential_id] = now + REST_S

    def choose(self, endpoint: Endpoint, now: float) -> Credential:
        """The first that is not resting, else the one that has rested longest."""
        self.until = {one: until for one, until in self.until.items() if until > now}
        return min(endpoint.credentials, key=lambda one: self.until.get(one.id, 0.0))

    def has_other(self, endpoint: Endpoint, now: float) -> bool:
        """Whether a key is left that was not refused of late."""
        return any(self.until.get(one.id, 0.0) <= now for one in endpoint.credentials)
