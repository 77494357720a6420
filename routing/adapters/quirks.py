"""How a provider differs from the plain dialect it speaks. Data, so that adding one needs no code."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Quirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    # where and how
    chat_path: str = "/chat/completions"
    responses_path: str = ""  # where it takes OpenAI's Responses as they are; "" if nowhere
    models_path: str = "/models"
    auth: str = "bearer"  # "bearer", "key" (Authorization: Key ...) or "header:<name>"
    extra_headers: dict[str, str] = {}
    # usage
    usage_mode: Literal["include_usage", "always", "finish_chunk", "every_chunk", "events"] = (
        "include_usage"
    )
    usage_paths: tuple[str, ...] = ("usage",)  # dotted; the last non-null one found wins
    input_includes_cache: bool = True
    output_includes_reasoning: bool = True
    cost_path: str = ""  # dotted path of the provider's own figure, "" if it gives none
    cost_scale: int = 1  # the figure divided by this is US dollars
    # request parameters
    max_tokens_field: Literal["max_tokens", "max_completion_tokens", "as_sent"] = "max_tokens"
    developer_role: bool = False  # False: developer messages are sent as system messages
    # "string_only": parts only where the endpoint takes images or audio, and they are needed
    content_parts: Literal["all", "string_in_tools", "string_only"] = "all"
    tool_choice_allowed: tuple[str, ...] = ("none", "auto", "required", "named")
    tool_choice_map: dict[str, str] = {}
    tool_call_ids: Literal["any", "nine"] = "any"  # "nine": nine letters or digits, no other id
    tools_with_response_format: bool = True
    response_format_style: Literal[
        "openai", "json_object_schema", "flat_schema", "json_object", "none"
    ] = "openai"  # "json_object": JSON mode without schemas
    drop_params: tuple[str, ...] = ()  # refused or ignored there: removed, and reported
    rename_params: dict[str, str] = {}
    strict_unknown: bool = False  # True: an unknown field is a 400 there
    known_params: tuple[str, ...] = ()  # fields of its own that a strict provider takes
    stop_max: int | None = None
    n_max: int | None = None
    reasoning_field_in: Literal["reasoning_content", "reasoning", "none"] = "reasoning_content"
    default_params: dict[str, Any] = {}  # sent unless the client set them
    # other kinds than chat
    embeddings_path: str = "/embeddings"
    rerank_path: str = "/rerank"
    images_path: str = "/images/generations"
    transcriptions_path: str = "/audio/transcriptions"
    translations_path: str = "/audio/translations"
    speech_path: str = "/audio/speech"
    embeddings_base64: bool = False  # True: gives vectors as base64 when asked to
    # "plain": no `response_format` there; times come when asked for with the text
    transcription_style: Literal["openai", "plain"] = "openai"
    audio_least_s: int = 0  # shorter recordings are billed as this long
    kind_drop_params: dict[str, tuple[str, ...]] = {}  # as drop_params, by kind of model
    # answers
    reasoning_field_out: Literal["reasoning_content", "reasoning", "none"] = "reasoning_content"
    finish_map: dict[str, str] = {}  # provider's word -> OpenAI's
    done_required: bool = True  # the stream must end with [DONE] unless a finish_reason was seen
    ignore_leading_blank: bool = False
    # errors and limits
    retryable_codes: tuple[str, ...] = ()
    billing_codes: tuple[str, ...] = ()  # money of the hub at the provider: never retried there
    credential_statuses: tuple[int, ...] = (401, 403)
    context_statuses: tuple[int, ...] = ()  # statuses that mean "too long" besides the known codes
    model_gone_statuses: tuple[int, ...] = (404, 410)
    ratelimit_headers: dict[str, str] = {}  # limit_requests, remaining_tokens, ... -> header name
    request_id_headers: tuple[str, ...] = ("x-request-id",)
    first_content_timeout_s: float | None = None
    settlement_path: str = ""  # where a request's cost can be asked for later, "" if nowhere
    # in whose way the provider takes whole batches, at its price for them; "" if it takes none
    batches: Literal["", "openai", "anthropic", "gemini", "mistral"] = ""


PLAIN = Quirks()


def quirks_from(data: dict[str, Any]) -> Quirks:
    """Raises msgspec.ValidationError naming the field that is wrong or unknown."""
    return msgspec.convert(data, Quirks)
