"""What the REST API answers with. Money is a decimal string in the currency beside it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class Money(serializers.DecimalField):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=24, decimal_places=12, read_only=True, **options)


class ProblemError(serializers.Serializer[Any]):
    field = serializers.CharField()
    message = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()
    errors = ProblemError(many=True, required=False)  # type: ignore[assignment]


# --- usage -----------------------------------------------------------------------------------------


class UsageRow(serializers.Serializer[Any]):
    """Of the columns before `requests`, those are there that were grouped by."""

    day = serializers.DateField(required=False)
    provider = serializers.CharField(required=False)
    provider_name = serializers.CharField(required=False)
    model = serializers.CharField(required=False)
    project = serializers.CharField(required=False)
    project_name = serializers.CharField(required=False)
    key = serializers.IntegerField(required=False)
    key_name = serializers.CharField(required=False)
    requests = serializers.IntegerField()
    ok = serializers.IntegerField()
    attempts = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    cost_usd = Money(help_text="Corrections included.")
    correction_usd = Money(help_text="The part that settlement added or took back.")
    simulated_usd = Money(help_text="The part that the provider simulator answered for.")
    currency = serializers.CharField()


class UsagePage(serializers.Serializer[Any]):
    data = UsageRow(many=True)  # type: ignore[assignment]
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    as_of = serializers.DateTimeField(allow_null=True, help_text="The last rollup.")
    currency = serializers.CharField()
    group_by = serializers.ListField(child=serializers.CharField())


# --- requests --------------------------------------------------------------------------------------


class RequestItem(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="request_id")
    received_at = serializers.DateTimeField()
    project = serializers.CharField()
    key = serializers.IntegerField(source="key_id")
    key_name = serializers.CharField(source="key")
    kind = serializers.CharField()
    surface = serializers.CharField()
    requested_model = serializers.CharField()
    model = serializers.CharField()
    provider = serializers.CharField()
    outcome = serializers.CharField()
    http_status = serializers.IntegerField(allow_null=True)
    error_code = serializers.CharField()
    attempts = serializers.IntegerField()
    stream = serializers.BooleanField()
    ttft_ms = serializers.FloatField(allow_null=True)
    e2e_ms = serializers.FloatField(allow_null=True)
    input_tokens = serializers.IntegerField(allow_null=True)
    output_tokens = serializers.IntegerField(allow_null=True)
    cost_usd = Money(help_text="Corrections included.")
    cost_status = serializers.CharField()
    currency = serializers.CharField(default="USD")
    simulated = serializers.BooleanField()
    policy = serializers.CharField()


class RequestPage(serializers.Serializer[Any]):
    data = RequestItem(many=True)  # type: ignore[assignment]
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class ChargeLineItem(serializers.Serializer[Any]):
    meter = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_price_usd = Money(allow_null=True)
    per = serializers.IntegerField()
    amount_usd = Money()
    price_id = serializers.IntegerField()
    price_source = serializers.CharField()
    price_effective_from = serializers.DateTimeField(source="effective_from", allow_null=True)


class AttemptItem(serializers.Serializer[Any]):
    attempt_no = serializers.IntegerField()
    started_at = serializers.DateTimeField()
    offset_ms = serializers.FloatField()
    provider = serializers.CharField()
    model = serializers.CharField()
    upstream_model = serializers.CharField()
    response_model = serializers.CharField()
    outcome = serializers.CharField()
    http_status = serializers.IntegerField(allow_null=True)
    failure = serializers.CharField()
    error_code = serializers.CharField()
    error_message = serializers.CharField()
    provider_request_id = serializers.CharField()
    finish_reason = serializers.CharField()
    input_tokens = serializers.IntegerField(allow_null=True)
    cache_read_tokens = serializers.IntegerField(allow_null=True)
    cache_write_tokens = serializers.IntegerField(allow_null=True)
    output_tokens = serializers.IntegerField(allow_null=True)
    reasoning_tokens = serializers.IntegerField(allow_null=True)
    usage_source = serializers.CharField()
    cost_usd = Money(
        source="recorded_cost_usd", help_text="As it was recorded: corrections stand apart."
    )
    settled_usd = Money(source="cost_usd", help_text="With its corrections.")
    cost_status = serializers.CharField()
    lines = ChargeLineItem(many=True)
    headers_ms = serializers.FloatField(allow_null=True)
    ttft_ms = serializers.FloatField(allow_null=True)
    ttfa_ms = serializers.FloatField(allow_null=True)
    last_chunk_ms = serializers.FloatField(allow_null=True)
    e2e_ms = serializers.FloatField(allow_null=True)
    speed_tps = serializers.FloatField(allow_null=True)
    dropped_params = serializers.ListField(child=serializers.CharField())
    simulated = serializers.BooleanField()


class CandidateItem(serializers.Serializer[Any]):
    place = serializers.IntegerField(allow_null=True)
    provider = serializers.CharField()
    model = serializers.CharField()
    expected_cost_usd = Money()
    ttft_ms = serializers.FloatField(allow_null=True)
    speed_tps = serializers.FloatField(allow_null=True)
    success_rate = serializers.FloatField(allow_null=True)
    samples = serializers.IntegerField()
    valid_rate = serializers.FloatField(
        allow_null=True,
        help_text="Of answers with tool calls or a schema, those of sound form; null where the "
        "request needs none.",
    )
    valid_samples = serializers.IntegerField(help_text="That the rate of sound form rests on.")
    score = serializers.FloatField()
    share = serializers.FloatField(help_text="The chance of being tried first, 0 to 1.")
    excluded = serializers.CharField()
    detail = serializers.CharField()


class CorrectionItem(serializers.Serializer[Any]):
    attempt_no = serializers.IntegerField()
    source = serializers.CharField()  # type: ignore[assignment]
    delta_usd = Money()
    cost_status = serializers.CharField()
    created_at = serializers.DateTimeField()
    lines = ChargeLineItem(many=True)
    note = serializers.CharField()


class ReceiptItem(RequestItem):
    attempts = AttemptItem(many=True)  # type: ignore[assignment]  # the list, not how many
    overhead_ms = serializers.FloatField(allow_null=True)
    policy_version = serializers.IntegerField()
    objective = serializers.CharField()
    rule = serializers.CharField(help_text="Of the policy: the one that held.")
    estimated_input_tokens = serializers.IntegerField(
        allow_null=True, help_text="That the candidates' costs were estimated for."
    )
    estimated_output_tokens = serializers.IntegerField(allow_null=True)
    runner_up_cost_usd = Money(allow_null=True, help_text="Expected, at the next choice.")
    replay_of = serializers.CharField(
        help_text="Id of the request whose answer was given again; empty for any other."
    )
    candidates = CandidateItem(many=True)
    corrections = CorrectionItem(many=True)


# --- catalog ---------------------------------------------------------------------------------------


class StatsItem(serializers.Serializer[Any]):
    n = serializers.IntegerField()
    success_rate = serializers.FloatField(allow_null=True)
    valid_share = serializers.FloatField(
        allow_null=True, help_text="Of answers with tool calls or a schema: those of sound form."
    )
    valid_n = serializers.IntegerField()
    ttft_p50_ms = serializers.FloatField(allow_null=True)
    ttft_p95_ms = serializers.FloatField(allow_null=True)
    speed_p50_tps = serializers.FloatField(allow_null=True)
    window_hours = serializers.IntegerField()
    updated_at = serializers.DateTimeField()


class PriceItem(serializers.Serializer[Any]):
    meter = serializers.CharField()
    unit_price_usd = Money()
    per = serializers.IntegerField()
    currency = serializers.CharField()
    price_id = serializers.IntegerField()
    effective_from = serializers.DateTimeField()


class EndpointItem(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    provider = serializers.CharField()
    upstream_model = serializers.CharField()
    region = serializers.CharField()
    quantization = serializers.CharField()
    context_window = serializers.IntegerField(allow_null=True)
    max_output_tokens = serializers.IntegerField(allow_null=True)
    capabilities = serializers.ListField(child=serializers.CharField())
    status = serializers.CharField()
    free = serializers.BooleanField()
    simulated = serializers.BooleanField()
    prices = PriceItem(many=True)
    stats = StatsItem(allow_null=True)


class ModelItem(serializers.Serializer[Any]):
    id = serializers.CharField()
    slug = serializers.CharField()
    title = serializers.CharField()
    maker = serializers.CharField()
    input_modalities = serializers.ListField(child=serializers.CharField())
    output_modalities = serializers.ListField(child=serializers.CharField())
    released_on = serializers.DateField(allow_null=True)
    endpoints = EndpointItem(many=True)


class ModelList(serializers.Serializer[Any]):
    data = ModelItem(many=True)  # type: ignore[assignment]


class ProviderItem(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    homepage = serializers.CharField()
    dialect = serializers.CharField()
    lifecycle = serializers.CharField()
    simulated = serializers.BooleanField(source="is_simulated")
    endpoints = serializers.IntegerField(source="endpoint_count")
    checked_on = serializers.DateField(allow_null=True)


class ProviderList(serializers.Serializer[Any]):
    data = ProviderItem(many=True)  # type: ignore[assignment]
