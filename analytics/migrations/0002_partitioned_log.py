"""The log's tables: partitioned by day, which Django cannot say. Partitions come from
analytics.partitions, as the days do."""

from django.db import migrations

REQUEST_LOG = """
CREATE TABLE request_log (
    day date NOT NULL,
    request_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    key_id bigint NOT NULL,
    project_id bigint NOT NULL,
    organization_id bigint NOT NULL,
    kind text NOT NULL,
    surface text NOT NULL,
    requested_model text NOT NULL,
    model_id bigint,
    stream boolean NOT NULL,
    outcome text NOT NULL,
    http_status integer,
    error_code text NOT NULL,
    attempts integer NOT NULL,
    endpoint_id bigint,
    ttft_ms double precision,
    e2e_ms double precision,
    overhead_ms double precision,
    simulated boolean NOT NULL,
    policy text NOT NULL,
    policy_version integer NOT NULL,
    decision jsonb,
    PRIMARY KEY (day, request_id)
) PARTITION BY RANGE (day);
CREATE INDEX request_log_by_time ON request_log (received_at DESC, request_id DESC);
CREATE INDEX request_log_by_project
    ON request_log (project_id, received_at DESC, request_id DESC);
"""

ATTEMPT = """
CREATE TABLE attempt (
    day date NOT NULL,
    request_id uuid NOT NULL,
    attempt_no integer NOT NULL,
    started_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    endpoint_id bigint NOT NULL,
    credential_id bigint NOT NULL,
    key_id bigint NOT NULL,
    project_id bigint NOT NULL,
    organization_id bigint NOT NULL,
    kind text NOT NULL,
    surface text NOT NULL,
    requested_model text NOT NULL,
    model_id bigint NOT NULL,
    upstream_model text NOT NULL,
    stream boolean NOT NULL,
    input_estimate bigint NOT NULL,
    simulated boolean NOT NULL,
    service_tier text NOT NULL,
    policy text NOT NULL,
    policy_version integer NOT NULL,
    outcome text NOT NULL,
    http_status integer,
    error_code text NOT NULL,
    error_message text NOT NULL,
    failure text NOT NULL,
    response_model text NOT NULL,
    provider_request_id text NOT NULL,
    finish_reason text NOT NULL,
    input_total bigint CHECK (input_total >= 0),
    cache_read bigint CHECK (cache_read >= 0),
    cache_write_5m bigint CHECK (cache_write_5m >= 0),
    cache_write_1h bigint CHECK (cache_write_1h >= 0),
    output_total bigint CHECK (output_total >= 0),
    reasoning bigint CHECK (reasoning >= 0),
    images bigint CHECK (images >= 0),
    audio_seconds bigint CHECK (audio_seconds >= 0),
    searches bigint CHECK (searches >= 0),
    provider_cost_usd numeric(24, 12),
    usage_source text NOT NULL,
    usage_raw text NOT NULL,
    cost_usd numeric(24, 12) NOT NULL CHECK (cost_usd >= 0),
    cost_status text NOT NULL,
    lines jsonb NOT NULL,
    headers_ms double precision,
    ttft_ms double precision,
    ttfa_ms double precision,
    last_chunk_ms double precision,
    e2e_ms double precision,
    content_frames integer NOT NULL,
    first_chunk_tokens integer,
    dropped_params text NOT NULL,
    PRIMARY KEY (day, request_id, attempt_no)
) PARTITION BY RANGE (day);
CREATE INDEX attempt_by_time ON attempt (received_at);
CREATE INDEX attempt_estimated ON attempt (received_at) WHERE cost_status = 'estimated';
"""

APPEND_ONLY = """
CREATE FUNCTION charge_correction_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'charge_correction is append-only: add a correction instead of a %', TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER charge_correction_is_append_only BEFORE UPDATE OR DELETE ON charge_correction
    FOR EACH ROW EXECUTE FUNCTION charge_correction_is_append_only();
"""

DROP_APPEND_ONLY = """
DROP TRIGGER charge_correction_is_append_only ON charge_correction;
DROP FUNCTION charge_correction_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("analytics", "0001_log_and_rollups")]

    operations = [
        migrations.RunSQL(REQUEST_LOG, "DROP TABLE request_log"),
        migrations.RunSQL(ATTEMPT, "DROP TABLE attempt"),
        migrations.RunSQL(APPEND_ONLY, DROP_APPEND_ONLY),
    ]
