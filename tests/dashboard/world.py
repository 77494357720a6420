"""A small hub with a past: people, keys and traffic, made through the hub's own recorder and prices.

Everything follows from the seed and the instant, so a page shows the same figures on each run.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection, transaction

from analytics.partitions import ensure_day
from analytics.recorder.open_requests import Rows
from analytics.recorder.rows import Row, attempt_row, request_row
from analytics.recorder.store import add_rows, make_staging
from analytics.rollups.fill import roll_up
from routing.core import pricing
from routing.core.charges import CostStatus
from routing.core.decision import Candidate, Decision, to_json
from routing.core.ids import uuid7
from routing.core.pricing import PICO_PER_USD, PriceSheet
from routing.core.record import Finish, Intent, Outcome, RequestDone, encode_lines
from routing.core.usage import Meter, Usage, UsageSource
from routing.models import ApiKey, Endpoint, Membership, Organization, Price, Project
from routing.services import keys

# TTFT in ms and output tokens per second that a provider is drawn around.
PROFILES = {
    "groq": (180, 420),
    "cerebras": (210, 1400),
    "sambanova": (320, 610),
    "together": (430, 118),
    "fireworks": (380, 164),
    "deepinfra": (620, 61),
    "novita": (780, 55),
    "nebius": (560, 84),
    "anthropic": (890, 72),
    "openai": (640, 96),
    "gemini": (520, 148),
    "deepseek": (1250, 34),
}
PLAIN_PROFILE = (700, 70)


@dataclass(slots=True)
class World:
    now: dt.datetime
    owner: User
    member: User
    biller: User  # sees sums alone
    stranger: User  # of another organization
    newcomer: User  # of none
    admin: User
    project: Project
    batch_project: Project
    other_project: Project
    key: ApiKey
    batch_key: ApiKey
    other_key: ApiKey
    requests: list[UUID]
    rescued: UUID | None = None  # ended well after a failed attempt
    others_request: UUID | None = None


def people(now: dt.datetime) -> World:
    acme = Organization.objects.create(slug="acme", name="Acme")
    other = Organization.objects.create(slug="other", name="Other Corp")
    project = Project.objects.create(organization=acme, slug="checkout", name="Checkout assistant")
    batch = Project.objects.create(organization=acme, slug="nightly", name="Nightly summaries")
    elsewhere = Project.objects.create(organization=other, slug="secret", name="Secret project")
    owner = _user("olga", acme, Membership.Role.OWNER)
    key, _ = keys.create_key(project=project, name="checkout service", created_by=owner)
    batch_key, _ = keys.create_key(project=batch, name="nightly job", created_by=owner)
    other_key, _ = keys.create_key(project=elsewhere, name="other key")
    return World(
        now=now,
        owner=owner,
        member=_user("mira", acme, Membership.Role.MEMBER),
        biller=_user("bill", acme, Membership.Role.BILLING_VIEWER),
        stranger=_user("sten", other, Membership.Role.OWNER),
        newcomer=_user("nils"),
        admin=User.objects.create(username="admin", is_staff=True, is_superuser=True),
        project=project,
        batch_project=batch,
        other_project=elsewhere,
        key=key,
        batch_key=batch_key,
        other_key=other_key,
        requests=[],
    )


def _user(name: str, organization: Organization | None = None, role: str = "") -> User:
    user = User.objects.create(username=name, password="!")  # cannot log in by password
    if organization is not None:
        Membership.objects.create(organization=organization, user=user, role=role)
    return user


# --- traffic ------------------------------------------------------------------------------------------


class Traffic:
    """Draws requests and hands them to the recorder's own rows."""

    def __init__(self, world: World, models: Sequence[str], seed: int = 7) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.by_model = self._endpoints(models)
        self.sheets = self._sheets()
        self.attempts: list[Row] = []
        self.requests: list[Row] = []

    def _endpoints(self, models: Sequence[str]) -> dict[str, list[Endpoint]]:
        found: dict[str, list[Endpoint]] = defaultdict(list)
        rows = Endpoint.objects.filter(model__name__in=models, status="active")
        for row in rows.select_related("provider", "model").order_by("pk"):
            found[row.model.name].append(row)
        return found

    def _sheets(self) -> dict[int, PriceSheet]:
        rows: dict[int, list[pricing.Price]] = defaultdict(list)
        for row in Price.objects.filter(state="approved"):
            rows[row.endpoint_id].append(
                pricing.Price(
                    id=row.pk,
                    meter=Meter(row.meter),
                    unit_price_usd=row.unit_price_usd,
                    effective_from=row.effective_from,
                    min_input_tokens=row.min_input_tokens,
                    service_tier=row.service_tier,
                )
            )
        return {key: PriceSheet(found) for key, found in rows.items()}

    def spread(self, days: int, per_day: int) -> Traffic:
        """Growing, quieter at weekends, nothing in the future."""
        for back in range(days, -1, -1):
            day = self.world.now - dt.timedelta(days=back)
            n = int(per_day * (1 - 0.02 * back) * (0.45 if day.weekday() >= 5 else 1.0))
            start = day.replace(hour=0, minute=0, second=0, microsecond=0)
            span_s = min(86400.0, (self.world.now - start).total_seconds() - 60)
            if span_s <= 0:
                continue
            for second in sorted(self.rng.uniform(0, span_s) for _ in range(max(n, 1))):
                self.one(start + dt.timedelta(seconds=second))
        return self

    def one(self, at: dt.datetime, key: ApiKey | None = None, kind: str = "traffic") -> UUID:
        world, rng = self.world, self.rng
        key = key or rng.choices([world.key, world.batch_key, world.other_key], [6, 3, 1])[0]
        model = rng.choice(sorted(self.by_model))
        candidates = self.by_model[model]
        order = rng.sample(candidates, min(3, len(candidates)))
        request_id = uuid7(int(at.timestamp() * 1000), rng.getrandbits)
        passed_ms, attempts = rng.uniform(0.4, 1.8), 0
        finish: Finish | None = None
        endpoint = order[0]
        doomed = rng.random() < 0.012  # every provider refuses it
        for endpoint in order:
            attempts += 1
            often = 0.12 if endpoint.provider.slug == "novita" else 0.02
            fails = doomed or rng.random() < often
            drawn = self._intent(request_id.bytes, attempts, at, passed_ms, endpoint, key, kind)
            intent = self.changed_intent(drawn)
            finish = self._finish(intent, endpoint, fails)
            self.attempts.append(attempt_row(intent, finish, finish.e2e_ms))
            passed_ms += finish.e2e_ms
            if finish.outcome is Outcome.OK:
                break
        assert finish is not None
        if attempts > 1 and finish.outcome is Outcome.OK and key == world.key:
            world.rescued = request_id
        if key == world.other_key:
            world.others_request = request_id
        world.requests.append(request_id)
        decision = self._decision(model, order, endpoint)
        done = self._done(intent, finish, endpoint, attempts, passed_ms, decision)
        self.requests.append(request_row(self.changed_done(done)))
        return request_id

    def changed_intent(self, intent: Intent) -> Intent:
        """For those who draw something else, as the next one."""
        return intent

    def changed_done(self, done: RequestDone) -> RequestDone:
        return done

    def _intent(
        self,
        request_id: bytes,
        number: int,
        at: dt.datetime,
        passed_ms: float,
        endpoint: Endpoint,
        key: ApiKey,
        kind: str,
    ) -> Intent:
        return Intent(
            request_id=request_id,
            attempt_no=number,
            started_at=at.timestamp() + passed_ms / 1000,
            received_at=at.timestamp(),
            endpoint_id=endpoint.pk,
            credential_id=1,
            key_id=key.pk,
            project_id=key.project_id,
            organization_id=key.project.organization_id,
            kind=kind,
            surface="chat",
            requested_model=endpoint.model.name,
            model_id=endpoint.model_id,
            upstream_model=endpoint.upstream_model,
            stream=True,
            input_estimate=900,
            simulated=endpoint.provider.is_simulated,
            policy="balanced",
            policy_version=1,
        )

    def _finish(self, intent: Intent, endpoint: Endpoint, fails: bool) -> Finish:
        rng = self.rng
        ttft, tps = PROFILES.get(endpoint.provider.slug, PLAIN_PROFILE)
        ttft_ms = ttft * rng.lognormvariate(0, 0.25)
        speed = tps * rng.lognormvariate(0, 0.12)
        read, written = rng.randrange(120, 6000), rng.randrange(40, 900)
        usage = Usage(
            input_total=read,
            cache_read=read // 3 if rng.random() < 0.3 else None,
            output_total=written,
            source=UsageSource.ESTIMATED if rng.random() < 0.04 else UsageSource.PROVIDER,
        )
        moment = dt.datetime.fromtimestamp(intent.received_at, dt.UTC)
        sheet = self.sheets.get(endpoint.pk, PriceSheet())
        charge = pricing.NO_CHARGE if fails else pricing.charge(usage, sheet, moment)
        e2e_ms = rng.uniform(80, 900) if fails else ttft_ms + written / speed * 1000
        return Finish(
            request_id=intent.request_id,
            attempt_no=intent.attempt_no,
            outcome=Outcome.PROVIDER_ERROR if fails else Outcome.OK,
            http_status=503 if fails else 200,
            error_code="overloaded" if fails else "",
            error_message="The engine is currently overloaded" if fails else "",
            failure="transient" if fails else "",
            response_model="" if fails else endpoint.upstream_model,
            provider_request_id=f"req_{rng.getrandbits(40):010x}",
            finish_reason="" if fails else "stop",
            usage=Usage() if fails else usage,
            usage_raw=b""
            if fails
            else b'{"prompt_tokens":%d,"completion_tokens":%d}' % (read, written),
            cost_usd=charge.amount_usd,
            cost_status=CostStatus.ESTIMATED
            if usage.source is UsageSource.ESTIMATED
            else CostStatus.METERED,
            lines=encode_lines(charge.lines),
            headers_ms=None if fails else ttft_ms * 0.8,
            ttft_ms=None if fails else ttft_ms,
            ttfa_ms=None if fails else ttft_ms,
            last_chunk_ms=None if fails else e2e_ms,
            e2e_ms=e2e_ms,
            content_frames=0 if fails else written,
            first_chunk_tokens=None if fails else 1,
        )

    def _done(
        self,
        intent: Intent,
        finish: Finish,
        endpoint: Endpoint,
        attempts: int,
        passed_ms: float,
        decision: Decision,
    ) -> RequestDone:
        ok = finish.outcome is Outcome.OK
        before_ms = passed_ms - finish.e2e_ms
        return RequestDone(
            request_id=intent.request_id,
            received_at=intent.received_at,
            key_id=intent.key_id,
            project_id=intent.project_id,
            organization_id=intent.organization_id,
            kind=intent.kind,
            surface=intent.surface,
            requested_model=intent.requested_model,
            model_id=intent.model_id,
            stream=True,
            outcome=finish.outcome,
            http_status=200 if ok else 502,
            error_code="" if ok else "upstream_failed",
            attempts=attempts,
            endpoint_id=endpoint.pk if ok else None,
            ttft_ms=before_ms + finish.ttft_ms if finish.ttft_ms is not None else None,
            e2e_ms=passed_ms,
            overhead_ms=1.1,
            simulated=intent.simulated,
            policy="balanced",
            policy_version=1,
            decision=to_json(decision),
        )

    def _decision(self, model: str, order: list[Endpoint], chosen: Endpoint) -> Decision:
        rows = self.by_model[model]
        places = {endpoint.pk for endpoint in order}
        return Decision(
            policy="balanced",
            policy_version=1,
            objective="balanced",
            model=model,
            candidates=tuple(self._candidate(row, row.pk in places, len(places)) for row in rows),
            order=tuple(endpoint.pk for endpoint in order),
            snapshot_version=41,
        )

    def _candidate(self, row: Endpoint, eligible: bool, n: int) -> Candidate:
        ttft, tps = PROFILES.get(row.provider.slug, PLAIN_PROFILE)
        codes = ("breaker_open", "max_price", "no_credential", "cooling_down", "missing_capability")
        code = "" if eligible else codes[row.pk % len(codes)]
        rates = self.sheets.get(row.pk, PriceSheet()).at(self.world.now)
        usd = sum((rate.unit_price_usd for rate in rates.values()), Decimal(0)) / 2000
        return Candidate(
            endpoint_id=row.pk,
            cost_pico=int(usd * PICO_PER_USD),
            ttft_ms=float(ttft),
            speed_tps=float(tps),
            success_rate=0.992,
            samples=420,
            score=float(usd) * (1 + ttft / 1000),
            share=round(1 / n, 3) if eligible else 0.0,
            excluded=code,
            detail={"max_price": "output 0.90 > 0.50", "missing_capability": "tools"}.get(code, ""),
        )

    def record(self) -> None:
        """Hands what was drawn to the log, on Django's own connection: a test can roll it back."""
        for day in sorted({row[0] for row in self.requests}):
            ensure_day(day)
        with transaction.atomic(), connection.cursor() as cursor:
            make_staging(cursor.cursor)
            cursor.execute("TRUNCATE stage_attempt, stage_request_log")
            add_rows(cursor.cursor, Rows(self.attempts, self.requests))
        self.attempts, self.requests = [], []
        roll_up(self.world.now)
