"""What OpenAI's way and Mistral's have in common: files are uploaded, and files of answers fetched."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from routing.adapters.jsonio import dict_of, dicts_in, dumps, text_of
from routing.batches.providers.paper import Answer
from routing.batches.providers.ways import Job, Lost, Way, form, whole
from routing.batches.providers.wire import Wire

MARK = "panelboard"  # in the metadata of a batch, with its tag


class FileWay(Way):
    kinds = frozenset({"chat", "embedding"})
    batches: str  # where they are made and looked at

    @override
    def answer_of(self, line: dict[str, Any]) -> Answer:
        custom_id, response = text_of(line.get("custom_id")), line.get("response")
        status = whole(response.get("status_code")) if isinstance(response, dict) else 0
        if not isinstance(response, dict) or not status:
            return Answer(custom_id, None)
        return Answer(custom_id, status, dumps(response.get("body")))

    @override
    async def cancel(self, wire: Wire, native_id: str) -> None:
        await wire.post(f"{self.batches}/{native_id}/cancel", {})


async def uploaded(wire: Wire, job: Job) -> str:
    """The provider's id of the file."""
    content_type, body = form({"purpose": "batch"}, f"{job.tag}.jsonl", job.lines)
    sent = await wire.send("POST", f"{wire.base}/files", [content_type], body)
    return text_of(sent.document.get("id"))


def results_in(wire: Wire, *file_ids: Any) -> tuple[str, ...]:
    """The addresses of the files that are there."""
    return tuple(f"{wire.base}/files/{name}/content" for name in map(text_of, file_ids) if name)


def is_marked(batch: dict[str, Any], lost: Lost) -> bool:
    return dict_of(batch.get("metadata")).get(MARK) == lost.tag


def problem_in(errors: Any) -> str:
    return "; ".join(text_of(error.get("message")) for error in dicts_in(errors)[:3]) or "failed"
