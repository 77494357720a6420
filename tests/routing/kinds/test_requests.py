"""What clients send, before anything is routed: clear refusals, and the facts to route by."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from routing.adapters.base import Upload
from routing.adapters.kinds.multipart import write_form
from routing.core.catalog import Snapshot
from routing.core.errors import HubError
from routing.core.kinds import KINDS, check_kind
from routing.core.request import RequestFacts
from routing.core.usage import Meter
from routing.gateway.kind_requests import parse_kind
from tests.routing import factories
from tests.routing.kinds.support import wav

KIND_OF = {kind: f"maker/{kind}-model" for kind in KINDS}


def picture() -> Snapshot:
    endpoints = []
    for number, (kind, name) in enumerate(KIND_OF.items(), 1):
        model = msgspec.structs.replace(factories.model(name, number), kind=kind)
        endpoints.append(factories.endpoint("acme", number, of=model, capabilities=frozenset()))
    return factories.snapshot(*endpoints)


SNAPSHOT = picture()
GOOD: dict[str, dict[str, Any]] = {
    "embedding": {"input": "x"},
    "rerank": {"query": "q", "documents": ["a"]},
    "image": {"prompt": "x"},
    "speech": {"input": "x", "voice": "alloy"},
}


def facts_of(kind: str, **body: Any) -> RequestFacts:
    asked = {"model": KIND_OF[kind], **GOOD[kind], **body}
    return parse_kind(kind, [], orjson.dumps(asked), SNAPSHOT)[1]


def refusal_of(kind: str, **body: Any) -> HubError:
    with pytest.raises(HubError) as refused:
        facts_of(kind, **body)
    return refused.value


def form_of(
    *fields: tuple[str, str], data: bytes = b"", name: str = "file"
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    upload = Upload("a.wav", "audio/wav", data or wav(3.5))
    content_type, body = write_form([("model", KIND_OF["transcription"]), *fields], name, upload)
    return [(b"content-type", content_type)], body


def test_the_facts_say_what_routing_and_ranking_need() -> None:
    embedded = facts_of("embedding", input=["a" * 40, "b" * 8])
    assert (embedded.input_tokens, embedded.window_tokens, embedded.output_tokens) == (12, 10, 0)
    ranked = facts_of("rerank", query="q" * 8, documents=["a" * 40, {"text": "b" * 4}])
    assert (ranked.input_tokens, ranked.window_tokens) == (15, 12)
    assert facts_of("image", n=2, size="100x50").pieces == (
        (Meter.IMAGE, 2),
        (Meter.PIXEL, 10_000),
    )
    assert facts_of("speech", input="héllo").pieces == ((Meter.CHARACTER, 5),)
    assert {facts_of(kind).kind for kind in GOOD} == set(GOOD)


def test_a_length_of_vectors_is_a_need() -> None:
    assert facts_of("embedding", dimensions=8).needs == {"dimensions"}
    assert facts_of("embedding").needs == frozenset()


def test_the_hubs_own_fields_and_suffixes_work_as_in_chat() -> None:
    name = KIND_OF["embedding"]
    asked = {"model": f"{name}:cheapest", "input": "x", "provider": {"only": ["acme"]}}
    call, facts = parse_kind("embedding", [], orjson.dumps({**asked, "models": [name]}), SNAPSHOT)
    assert (facts.objective, facts.preferences.only) == ("cheapest", ("acme",))
    assert facts.fallback_models == (name,)
    assert call.body == {"model": f"{name}:cheapest", "input": "x"}


@pytest.mark.parametrize("kind", GOOD)
def test_a_model_of_another_kind_is_refused_with_the_right_path(kind: str) -> None:
    refused = refusal_of(kind, model=KIND_OF["chat"])
    assert (refused.status, refused.code, refused.param) == (400, "wrong_endpoint", "model")
    assert "POST /v1/chat/completions" in refused.message
    fallback = refusal_of(kind, models=[KIND_OF["chat"]])
    assert (fallback.code, fallback.param) == ("wrong_endpoint", "models")


def test_a_chat_request_for_another_kind_names_its_path() -> None:
    check_kind(KIND_OF["chat"], "chat", SNAPSHOT)
    for kind, name in KIND_OF.items():
        if kind != "chat":
            with pytest.raises(HubError, match=f"POST {KINDS[kind].path}"):
                check_kind(name, "chat", SNAPSHOT)


def test_an_unknown_model_is_not_found() -> None:
    assert refusal_of("embedding", model="maker/embeding-model").status == 404
    assert refusal_of("embedding", models=["nobody/knows"]).status == 404
    assert refusal_of("embedding", model=None).code == "missing_model"
    assert refusal_of("embedding", model=7).code == "invalid_type"


@pytest.mark.parametrize(
    ("kind", "body", "param"),
    [
        ("embedding", {"input": ""}, "input"),
        ("embedding", {"input": []}, "input"),
        ("embedding", {"input": ["a", ""]}, "input"),
        ("embedding", {"input": ["a", 1]}, "input"),
        ("embedding", {"input": [1, -1]}, "input"),
        ("embedding", {"input": [[1], []]}, "input"),
        ("embedding", {"input": {"text": "x"}}, "input"),
        ("embedding", {"input": ["x"] * 2049}, "input"),
        ("embedding", {"dimensions": 0}, "dimensions"),
        ("embedding", {"dimensions": "8"}, "dimensions"),
        ("embedding", {"encoding_format": "hex"}, "encoding_format"),
        ("rerank", {"query": ""}, "query"),
        ("rerank", {"documents": []}, "documents"),
        ("rerank", {"documents": ["a", {"title": "b"}]}, "documents[1]"),
        ("rerank", {"top_n": 0}, "top_n"),
        ("rerank", {"top_n": True}, "top_n"),
        ("rerank", {"return_documents": "yes"}, "return_documents"),
        ("image", {"prompt": None}, "prompt"),
        ("image", {"n": 11}, "n"),
        ("image", {"response_format": "png"}, "response_format"),
        ("image", {"stream": True}, "stream"),
        ("image", {"stream": "true"}, "stream"),
        ("image", {"partial_images": 1}, "partial_images"),
        ("image", {"stream": True, "partial_images": 4}, "partial_images"),
        ("image", {"stream": True, "n": 2}, "n"),
        ("speech", {"input": []}, "input"),
        ("speech", {"stream_format": "sse"}, "stream_format"),
        ("speech", {"stream_format": "chunks"}, "stream_format"),
        ("speech", {"models": "x"}, "models"),
        ("speech", {"models": ["x"] * 5}, "models"),
        ("speech", {"provider": []}, "provider"),
    ],
)
def test_a_wrong_field_is_named(kind: str, body: dict[str, Any], param: str) -> None:
    refused = refusal_of(kind, **body)
    assert (refused.status, refused.param) == (400, param)
    assert refused.should_retry is False


def test_a_form_is_read_field_by_field() -> None:
    headers, body = form_of(
        ("language", "en"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("response_format", "verbose_json"),
        ("provider", '{"only": ["acme"]}'),
    )
    seen: list[object] = []
    call, facts = parse_kind("transcription", headers, body, SNAPSHOT, seen.append)
    assert call.body == {
        "model": KIND_OF["transcription"],
        "language": "en",
        "timestamp_granularities[]": ["word", "segment"],
        "response_format": "verbose_json",
    }
    assert call.upload == Upload("a.wav", "audio/wav", wav(3.5))
    assert facts.pieces == ((Meter.AUDIO_SECOND, 4),)
    assert facts.needs == {"timestamps"}
    assert facts.preferences.only == ("acme",)
    assert seen == [KIND_OF["transcription"]]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        (form_of(name="audio"), "missing_file"),
        (form_of(("language", "en"), ("language", "de")), "repeated_field"),
        (form_of(("response_format", "diarized_json")), "invalid_value"),
        (form_of(("stream", "true")), "unsupported_value"),
        (form_of(("stream", "yes")), "invalid_type"),
        (form_of(("stream", "true"), ("response_format", "srt")), "unsupported_value"),
        (
            form_of(("stream", "true"), ("timestamp_granularities[]", "word")),
            "unsupported_value",
        ),
        (form_of(("provider", "{")), "invalid_json"),
        (([(b"content-type", b"multipart/form-data")], b""), "invalid_form"),
        (([(b"content-type", b"application/json")], b"{}"), "unsupported_content_type"),
        (([], b""), "unsupported_content_type"),
    ],
)
def test_a_wrong_form_is_refused(form: tuple[list[tuple[bytes, bytes]], bytes], code: str) -> None:
    with pytest.raises(HubError) as refused:
        parse_kind("transcription", *form, SNAPSHOT)
    assert refused.value.code == code


def test_a_form_that_is_cut_off_is_refused() -> None:
    headers, body = form_of()
    for length in (len(body) - 3, len(body) - 30, len(body) // 2, 40):
        with pytest.raises(HubError) as refused:
            parse_kind("transcription", headers, body[:length], SNAPSHOT)
        assert refused.value.status == 400
