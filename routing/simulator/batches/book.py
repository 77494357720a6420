"""What clients left and may ask for again: files, and batches with their lines."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec

from routing.simulator.world import Provider

KEPT = 200  # files and batches each


class Line(msgspec.Struct):
    custom_id: str
    body: dict[str, Any]
    url: str = ""
    status: int | None = None  # None: never come to
    answer: bytes = b""


class Batch(msgspec.Struct):
    id: str
    provider: str
    created_at: float
    due_at: float
    lines: list[Line]
    asked: dict[str, Any]
    problem: str = ""
    cancelled: bool = False
    has_ended: bool = False

    def count(self, good: bool) -> int:
        return sum(1 for line in self.lines if line.status and (line.status == 200) is good)


class Book:
    """What clients left here and may ask for again."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Batch] = {}

    def keep_file(self, content: bytes) -> str:
        file_id = f"file-{uuid4().hex[:24]}"
        self.files[file_id] = content
        while len(self.files) > KEPT:
            del self.files[next(iter(self.files))]
        return file_id

    def keep_batch(self, batch: Batch) -> None:
        self.batches[batch.id] = batch
        while len(self.batches) > KEPT:
            del self.batches[next(iter(self.batches))]

    def of(self, provider: Provider) -> list[Batch]:
        return [batch for batch in self.batches.values() if batch.provider == provider.slug][::-1]
