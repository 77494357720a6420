"""What clients left and may ask for again: files, and batches with their lines."""

from __future__ import annotations

from typing import Any, Literal
from uuid import uuid4

import msgspec

from routing.simulator.world import Provider

KEPT = 200  # files and batches each
VALIDATING_SHARE = 0.2  # of its time


class Line(msgspec.Struct):
    custom_id: str
    body: dict[str, Any]
    url: str = ""
    model: str = ""  # where its body does not name it
    status: int | None = None  # None: never come to
    answer: bytes = b""


class Script(msgspec.Struct, forbid_unknown_fields=True):
    """How a batch that is begun after this comes to its end. Each is used once, in turn."""

    provider: str = ""  # "" for any
    end: Literal["completed", "failed", "expired", "cancelled"] = "completed"
    answers: int | None = None  # of so many lines, from the first; None for all
    problem: str = "The batch failed."
    takes_s: float | None = None


class Mishap(msgspec.Struct, forbid_unknown_fields=True):
    """What goes wrong with requests about files and batches, so many times."""

    provider: str = ""
    method: str = ""  # "" for any
    path: str = ""  # a part of it
    status: int = 500  # 0: the connection is closed, a file in its middle
    is_done: bool = False  # what was asked is done all the same
    times: int = 1


class Batch(msgspec.Struct):
    id: str
    provider: str
    created_at: float
    due_at: float
    lines: list[Line]
    asked: dict[str, Any]
    script: Script = msgspec.field(default_factory=Script)
    problem: str = ""
    cancelled: bool = False
    has_ended: bool = False

    def state(self, now: float) -> str:
        """In OpenAI's words."""
        if self.has_ended:
            return "cancelled" if self.cancelled else self.end
        if self.cancelled:
            return "cancelling"
        begins = self.created_at + (self.due_at - self.created_at) * VALIDATING_SHARE
        return "validating" if now < begins else "in_progress"

    @property
    def end(self) -> str:
        return "failed" if self.problem else self.script.end

    def count(self, good: bool) -> int:
        return sum(1 for line in self.lines if line.status and (line.status == 200) is good)


class Book:
    """What clients left here and may ask for again."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Batch] = {}
        self.scripts: list[Script] = []
        self.mishaps: list[Mishap] = []

    def script_for(self, provider: Provider) -> Script:
        for number, script in enumerate(self.scripts):
            if script.provider in ("", provider.slug):
                return self.scripts.pop(number)
        return Script()

    def mishap_at(self, provider: Provider, method: str, path: str) -> Mishap | None:
        for mishap in self.mishaps:
            fits = mishap.provider in ("", provider.slug) and mishap.method in ("", method)
            if fits and mishap.path in path and mishap.times > 0:
                mishap.times -= 1
                return mishap
        return None

    def keep_file(self, content: bytes, file_id: str = "") -> str:
        file_id = file_id or f"file-{uuid4().hex[:24]}"
        self.files[file_id] = content
        while len(self.files) > KEPT:
            del self.files[next(iter(self.files))]
        return file_id

    def clear(self) -> None:
        for kept in (self.files, self.batches, self.scripts, self.mishaps):
            kept.clear()

    def keep_batch(self, batch: Batch) -> None:
        self.batches[batch.id] = batch
        while len(self.batches) > KEPT:
            del self.batches[next(iter(self.batches))]

    def of(self, provider: Provider) -> list[Batch]:
        return [batch for batch in self.batches.values() if batch.provider == provider.slug][::-1]
