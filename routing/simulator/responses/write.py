"""Writes a response, whole or as the events that tell of it. Both come from the same items."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from routing.simulator.answers import Part
from routing.simulator.dialects.openai_write import call_id, logprob
from routing.simulator.responses.builtin import BUILTIN, ID_WORDS, SOURCE, Work
from routing.simulator.responses.read import SEALED, builtin_tools
from routing.simulator.responses.sealed import seal
from routing.simulator.session import ENCODER, Frame, Kind, Report, Session, groups_of, pretend
from routing.simulator.tokens import pieces_of

Body = dict[str, Any]


def reply(session: Session) -> bytes:
    writer = Writer(session)
    for _ in writer.items():
        pass
    return ENCODER.encode(writer.response(writer.end_state()))


class Writer:
    """`items` leaves the finished items in `output`; `frames` tells of them on the way."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.body: Body = session.ask.own
        self.output: list[Body] = []
        self.sequence = 0

    def frames(self) -> Iterator[Frame]:
        opening = self.response("in_progress")
        yield self._event(Kind.HEAD, "response.created", {"response": opening})
        yield self._event(Kind.HEAD, "response.in_progress", {"response": opening})
        yield from self.items()
        state = self.end_state()
        yield self._event(Kind.DONE, f"response.{state}", {"response": self.response(state)})

    def items(self) -> Iterator[Frame]:
        parts = self.session.choices[0].parts
        for part in parts:
            if part.kind == "reasoning":
                yield from self._reasoning(part)
        if self.session.ask.tool_result is None:
            for tool in builtin_tools(self.body):
                for work in BUILTIN[tool["type"]].works(self.session, tool):
                    yield from self._work(work)
        for part in parts:
            if part.kind == "text":
                yield from self._message(part)
            elif part.kind == "call":
                yield from self._call(part)

    # --- the response -------------------------------------------------------------------------

    def end_state(self) -> str:
        return "incomplete" if self.session.choices[0].finish == "length" else "completed"

    def response(self, status: str) -> Body:
        session, body = self.session, self.body
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
        return {
            "id": "resp_" + _digest(session.response_id),
            "object": "response",
            "created_at": session.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": cut,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "max_tool_calls": body.get("max_tool_calls"),
            "model": session.response_model,
            "output": list(self.output),
            "parallel_tool_calls": session.ask.parallel,
            "previous_response_id": None,
            "prompt_cache_key": body.get("prompt_cache_key"),
            "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
            "safety_identifier": body.get("safety_identifier"),
            "service_tier": session.ask.service_tier or "default",
            "store": body.get("store") is not False,
            "temperature": body.get("temperature", 1.0),
            "text": {"format": {"type": "text"}, "verbosity": "medium", **text},
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": [_tool(tool) for tool in body.get("tools") or ()],
            "top_logprobs": body.get("top_logprobs") or 0,
            "top_p": body.get("top_p", 1.0),
            "truncation": body.get("truncation") or "disabled",
            "usage": self._usage() if status != "in_progress" else None,
            "user": body.get("user"),
            "metadata": body.get("metadata") or {},
        }

    def _usage(self) -> Body | None:
        report, tally = self.session.report, self.session.tally
        if report is Report.NONE:
            return None
        cached = {"cached_tokens": tally.cache_read, "cache_write_tokens": tally.cache_write_5m}
        usage = {
            "input_tokens": tally.input_total,
            "input_tokens_details": cached,
            "output_tokens": tally.output_total,
            "output_tokens_details": {"reasoning_tokens": tally.reasoning},
            "total_tokens": tally.input_total + tally.output_total,
        }
        return pretend(usage) if report is Report.ABSURD else usage

    # --- items --------------------------------------------------------------------------------

    def _reasoning(self, part: Part) -> Iterator[Frame]:
        """Hidden, or summed up where the client asked for that; sealed where it asked for it."""
        own = self.body.get("include") or ()
        sealed = {"encrypted_content": seal(self.session.provider.slug, part.text)}
        head = {**self._head("reasoning"), **(sealed if SEALED in own else {})}
        yield self._added({**head, "summary": []})
        summary: list[Body] = []
        if (self.body.get("reasoning") or {}).get("summary"):
            summary = [{"type": "summary_text", "text": part.text}]
            yield from self._summary(part)
        else:
            yield Frame(Kind.CONTENT, b"", part.tokens, part.tokens)
        yield self._done({**head, "summary": summary})

    def _summary(self, part: Part) -> Iterator[Frame]:
        place = {**self._place("reasoning"), "summary_index": 0}
        event = "response.reasoning_summary"
        empty = {"type": "summary_text", "text": ""}
        yield self._event(Kind.HEAD, f"{event}_part.added", {**place, "part": empty})
        for pieces in groups_of(part.pieces, self.session.pieces_per_chunk):
            fields = {**place, "delta": "".join(pieces)}
            count = len(pieces)
            yield self._event(Kind.CONTENT, f"{event}_text.delta", fields, count, count)
        yield self._event(Kind.HEAD, f"{event}_text.done", {**place, "text": part.text})
        whole = {**empty, "text": part.text}
        yield self._event(Kind.HEAD, f"{event}_part.done", {**place, "part": whole})

    def _work(self, work: Work) -> Iterator[Frame]:
        kind = work.done["type"]
        head, place = self._head(kind), self._place(kind)
        yield self._added({**head, **work.opening})
        for event, fields in work.events:
            yield self._event(Kind.HEAD, event, {**place, **fields})
        yield self._done({**head, **work.done})

    def _message(self, part: Part) -> Iterator[Frame]:
        head = {**self._head("message"), "role": "assistant"}
        place = {**self._place("message"), "content_index": 0}
        yield self._added({**head, "status": "in_progress", "content": []})
        empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield self._event(Kind.HEAD, "response.content_part.added", {**place, "part": empty})
        for pieces in groups_of(part.pieces, self.session.pieces_per_chunk):
            fields = {**place, "delta": "".join(pieces), "logprobs": self._shown(pieces)}
            yield self._event(Kind.CONTENT, "response.output_text.delta", fields, len(pieces))
        said = {**place, "text": part.text, "logprobs": self._shown(part.pieces)}
        yield self._event(Kind.HEAD, "response.output_text.done", said)
        cited = self._cited(part)
        for at, annotation in enumerate(cited):
            fields = {**place, "annotation_index": at, "annotation": annotation}
            yield self._event(Kind.HEAD, "response.output_text.annotation.added", fields)
        probs = [logprob(piece) for piece in part.pieces] if self._tells_logprobs() else []
        whole = {**empty, "text": part.text, "annotations": cited, "logprobs": probs}
        yield self._event(Kind.HEAD, "response.content_part.done", {**place, "part": whole})
        is_cut = self.session.choices[0].finish == "length"
        status = "incomplete" if is_cut else "completed"
        yield self._done({**head, "status": status, "content": [whole]})

    def _cited(self, part: Part) -> list[Body]:
        if not self.session.ask.pieces.get("search"):
            return []
        ends = {"start_index": 0, "end_index": min(len(part.text), 10)}
        return [{"type": "url_citation", "title": "Panelboards", "url": SOURCE, **ends}]

    def _call(self, part: Part) -> Iterator[Frame]:
        head = {**self._head("function_call"), "name": part.tool}
        head["call_id"] = call_id(self.session, 0, part.call_no)
        place = self._place("function_call")
        opening = {**head, "status": "in_progress", "arguments": ""}
        yield self._added(opening, len(pieces_of(part.tool)))
        event = "response.function_call_arguments"
        for pieces in groups_of(part.pieces, self.session.pieces_per_chunk):
            fields = {**place, "delta": "".join(pieces)}
            yield self._event(Kind.CONTENT, f"{event}.delta", fields, len(pieces))
        said = {**place, "arguments": part.text, "name": part.tool}
        yield self._event(Kind.HEAD, f"{event}.done", said)
        yield self._done({**head, "status": "completed", "arguments": part.text})

    def _tells_logprobs(self) -> bool:
        return self.session.ask.logprobs and self.session.endpoint.can("logprobs")

    def _shown(self, pieces: list[str]) -> list[Body]:
        """Events tell of tokens without their bytes."""
        if not self._tells_logprobs():
            return []
        told = map(logprob, pieces)
        return [{n: p for n, p in entry.items() if n != "bytes"} for entry in told]

    # --- events -------------------------------------------------------------------------------

    def _id(self, kind: str) -> str:
        return f"{ID_WORDS[kind]}_" + _digest(f"{self.session.response_id}/{len(self.output)}")

    def _head(self, kind: str) -> Body:
        return {"id": self._id(kind), "type": kind}

    def _place(self, kind: str) -> Body:
        return {"item_id": self._id(kind), "output_index": len(self.output)}

    def _added(self, item: Body, output: int = 0) -> Frame:
        kind = Kind.CONTENT if output else Kind.HEAD
        fields = {"output_index": len(self.output), "item": item}
        return self._event(kind, "response.output_item.added", fields, output)

    def _done(self, item: Body) -> Frame:
        fields = {"output_index": len(self.output), "item": item}
        self.output.append(item)
        return self._event(Kind.HEAD, "response.output_item.done", fields)

    def _event(
        self, kind: Kind, name: str, fields: Body, output: int = 0, reasoning: int = 0
    ) -> Frame:
        data = ENCODER.encode({"type": name, "sequence_number": self.sequence, **fields})
        self.sequence += 1
        return Frame(kind, b"event: %s\ndata: %s\n\n" % (name.encode(), data), output, reasoning)


def _tool(tool: Body) -> Body:
    if tool.get("type") != "function":
        return tool
    return {"strict": True, "description": None, "parameters": None, **tool}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:48]
