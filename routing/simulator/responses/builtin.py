"""Tools that the provider runs itself: the items they leave, and the events on the way there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from routing.simulator.session import Session

Body = dict[str, Any]

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CODE = "print(6 * 7)"
SOURCE = "https://pages.example/panelboards"
WATTS = '{"panel":"A"}'


class Work(NamedTuple):
    """One item: as it opens, as it is when done, and (event, its own fields) between the two."""

    opening: Body
    done: Body
    events: tuple[tuple[str, Body], ...]


class Builtin(NamedTuple):
    works: Callable[[Session, Body], Iterator[Work]]
    required: tuple[str, ...] = ()


def _stages(kind: str, *stages: str) -> tuple[tuple[str, Body], ...]:
    return tuple((f"response.{kind}.{stage}", {}) for stage in stages)


def _searches(session: Session, tool: Body) -> Iterator[Work]:
    """The page that is opened at the end is no search, and is not billed."""
    wanted = "web_search_call.action.sources" in (session.ask.own.get("include") or ())
    for no in range(session.ask.pieces["search"]):
        query = f"panelboards {no + 1}"
        action: Body = {"type": "search", "query": query, "queries": [query]}
        if wanted:
            action["sources"] = [{"type": "url", "url": SOURCE}]
        yield _web(action)
    yield _web({"type": "open_page", "url": SOURCE})


def _web(action: Body) -> Work:
    head = {"type": "web_search_call", "action": action}
    stages = _stages("web_search_call", "in_progress", "searching", "completed")
    return Work({**head, "status": "in_progress"}, {**head, "status": "completed"}, stages)


def _file_search(session: Session, tool: Body) -> Iterator[Work]:
    head = {"type": "file_search_call", "queries": ["panelboards"], "results": None}
    found = {"file_id": "file-1", "filename": "panels.txt", "score": 0.9, "text": "42 circuits"}
    wanted = "file_search_call.results" in (session.ask.own.get("include") or ())
    results = [{**found, "attributes": {}}] if wanted else None
    yield Work(
        {**head, "status": "in_progress"},
        {**head, "status": "completed", "results": results},
        _stages("file_search_call", "in_progress", "searching", "completed"),
    )


def _code(session: Session, tool: Body) -> Iterator[Work]:
    head = {"type": "code_interpreter_call", "container_id": "cntr_simulated", "outputs": None}
    wanted = "code_interpreter_call.outputs" in (session.ask.own.get("include") or ())
    outputs = [{"type": "logs", "logs": "42\n"}] if wanted else None
    yield Work(
        {**head, "code": "", "status": "in_progress"},
        {**head, "code": CODE, "status": "completed", "outputs": outputs},
        (
            *_stages("code_interpreter_call", "in_progress"),
            ("response.code_interpreter_call_code.delta", {"delta": CODE}),
            ("response.code_interpreter_call_code.done", {"code": CODE}),
            *_stages("code_interpreter_call", "interpreting", "completed"),
        ),
    )


def _mcp(session: Session, tool: Body) -> Iterator[Work]:
    label = tool["server_label"]
    offered = {"name": "read_watts", "input_schema": {"type": "object"}, "annotations": None}
    listed = {"type": "mcp_list_tools", "server_label": label}
    yield Work(
        {**listed, "tools": []},
        {**listed, "tools": [offered]},
        _stages("mcp_list_tools", "in_progress", "completed"),
    )
    head = {"type": "mcp_call", "server_label": label, "name": "read_watts"}
    head |= {"approval_request_id": None, "error": None}
    yield Work(
        {**head, "arguments": "", "output": None, "status": "in_progress"},
        {**head, "arguments": WATTS, "output": "1200", "status": "completed"},
        (
            *_stages("mcp_call", "in_progress"),
            ("response.mcp_call_arguments.delta", {"delta": WATTS}),
            ("response.mcp_call_arguments.done", {"arguments": WATTS}),
            *_stages("mcp_call", "completed"),
        ),
    )


def _image(session: Session, tool: Body) -> Iterator[Work]:
    head = {"type": "image_generation_call"}
    partial = {"partial_image_b64": PIXEL, "partial_image_index": 0}
    yield Work(
        {**head, "status": "in_progress", "result": None},
        {**head, "status": "completed", "result": PIXEL},
        (
            *_stages("image_generation_call", "in_progress", "generating"),
            ("response.image_generation_call.partial_image", partial),
            *_stages("image_generation_call", "completed"),
        ),
    )


BUILTIN: dict[str, Builtin] = {
    "web_search": Builtin(_searches),
    "web_search_preview": Builtin(_searches),
    "file_search": Builtin(_file_search, ("vector_store_ids",)),
    "code_interpreter": Builtin(_code, ("container",)),
    "mcp": Builtin(_mcp, ("server_label",)),
    "image_generation": Builtin(_image),
}
ID_WORDS = {
    "web_search_call": "ws",
    "file_search_call": "fs",
    "code_interpreter_call": "ci",
    "mcp_list_tools": "mcpl",
    "mcp_call": "mcp",
    "image_generation_call": "ig",
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
}
