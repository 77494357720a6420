"""What OpenAI chat has no word for, noted while a request is translated."""

from __future__ import annotations

from routing.adapters.left_out import named


class Losses:
    """`essential` losses change the question: only a provider of the dialect itself may answer."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._essential: dict[str, None] = {}

    def hint(self, name: str) -> None:
        """Left out; the answer stays one to the same question."""
        self._names[name] = None

    def essential(self, name: str) -> None:
        self._names[name] = None
        self._essential[name] = None

    @property
    def names(self) -> tuple[str, ...]:
        return named(self._names)

    @property
    def essentials(self) -> tuple[str, ...]:
        return named(self._essential)
