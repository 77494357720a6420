"""Requests with a recording, which travels in a form: transcriptions and translations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from routing.adapters.base import Headers, header
from routing.adapters.kinds.counting import (
    audio_seconds,
    estimated_audio_seconds,
    whole_seconds,
)
from routing.adapters.kinds.multipart import BadForm, Form, read_form
from routing.adapters.kinds.transcriptions import FORMATS, GRANULARITIES, TIMED_FORMATS
from routing.core.catalog import Snapshot
from routing.core.errors import HubError
from routing.core.kinds import TRANSLATION
from routing.core.usage import Meter
from routing.gateway.kind_facts import Parsed, call_of, check_one_of, facts_of
from routing.gateway.preferences import bad_request

# Fields of a form that clients write as lists: "name[]", or the name again and again.
LISTS = frozenset({"timestamp_granularities", "include", "models", "languages", "keywords"})
Note = Callable[[object], None]


def parse_recording(
    kind: str, headers: Headers, raw: bytes, snapshot: Snapshot, note: Note
) -> Parsed:
    """`raw` is a form. Raises HubError 400, 404 and 415."""
    form = _form(headers, raw)
    note(dict(form.fields).get("model"))
    upload = form.files.pop("file", None)
    if upload is None or not upload.data:
        raise bad_request("missing_file", "The form has no 'file', or an empty one", "file")
    if form.files:
        name = next(iter(form.files))
        raise bad_request("unknown_file", "Only one file is taken, under 'file'", name[:60])
    body = _fields(form)
    check_one_of(body, "response_format", FORMATS)
    is_stream = _form_flag(body, "stream")
    needs = _needs(kind, body, is_stream=is_stream)
    seconds = whole_seconds(audio_seconds(upload.data)) or estimated_audio_seconds(upload.data)
    call = call_of(body, raw, kind, stream=is_stream, upload=upload)
    return call, facts_of(
        body,
        snapshot,
        kind,
        streamed_by="stream" if is_stream else "",
        needs=needs,
        pieces=((Meter.AUDIO_SECOND, seconds),),
    )


def _needs(kind: str, body: dict[str, Any], *, is_stream: bool) -> frozenset[str]:
    """The capabilities without which this cannot be answered."""
    needs = _NEEDS_OF.get(kind, frozenset())
    if is_stream and kind == TRANSLATION:
        raise bad_request(
            "unsupported_value", "Translations come whole: leave 'stream' out", "stream"
        )
    is_timed = body.get("response_format") in TIMED_FORMATS
    if not is_timed and GRANULARITIES not in body:
        return needs
    if is_stream:
        name = "response_format" if is_timed else GRANULARITIES
        raise bad_request(
            "unsupported_value", f"A stream tells no times: leave '{name}' or 'stream' out", name
        )
    return needs | {"timestamps"}


_NEEDS_OF = {TRANSLATION: frozenset({"translation"})}


def _form(headers: Headers, raw: bytes) -> Form:
    content_type = header(headers, b"content-type").decode("latin-1")
    if not content_type.lower().startswith("multipart/form-data"):
        raise HubError(
            415,
            "unsupported_content_type",
            "Send the recording as multipart/form-data, with the fields 'file' and 'model'",
            should_retry=False,
        )
    try:
        return read_form(content_type, raw)
    except BadForm as exc:
        raise bad_request("invalid_form", str(exc)) from None


def _fields(form: Form) -> dict[str, Any]:
    """A list where the form means one; the hub's own fields as they are in JSON."""
    body: dict[str, Any] = {}
    for sent, value in form.fields:
        name = sent.removesuffix("[]")
        if sent.endswith("[]") or name in LISTS:
            body.setdefault(name if name == "models" else f"{name}[]", []).append(value)
        elif name in body:
            raise bad_request("repeated_field", f"The form has '{name[:60]}' twice", name[:60])
        else:
            body[name] = value
    if "provider" in body:
        body["provider"] = _json_field(body["provider"])
    return body


def _json_field(value: str) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise bad_request("invalid_json", "'provider' must be JSON in a form", "provider") from None


def _form_flag(body: dict[str, Any], name: str) -> bool:
    """Of a form, whose fields are texts."""
    word = body.get(name, "false")
    if word not in ("true", "false"):
        raise bad_request("invalid_type", f"'{name}' must be true or false", name)
    return bool(word == "true")
