"""The requests of a day, as the records that a gateway would have written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from analytics.demo.shape import moment_of, requests_on
from analytics.demo.stage import TIER, Stage
from routing.core.charges import CostStatus
from routing.core.decision import Candidate, Decision, to_json
from routing.core.ids import new_request_id, request_id_text
from routing.core.pricing import PICO_PER_USD, charge
from routing.core.record import Finish, Intent, Outcome, Record, RequestDone, encode_lines
from routing.core.usage import Usage, UsageSource
from routing.models import ApiKey, Endpoint, Project

POLICY, POLICY_VERSION = "balanced", 1
EXPECTED_OUTPUT = 300
RATE_LIMITED = 0.012
PROVIDER_ERROR = 0.006
CANCELLED = 0.02
REFUSED = 0.01


@dataclass(frozen=True, slots=True)
class Outage:
    provider_id: int
    start: dt.datetime
    end: dt.datetime

    def hits(self, endpoint: Endpoint, at: dt.datetime) -> bool:
        return endpoint.provider_id == self.provider_id and self.start <= at < self.end


def day_of_requests(
    stage: Stage, day: dt.date, last_day: dt.date, per_day: int, seed: int, outage: Outage
) -> Iterator[Record]:
    """The same for the same arguments. Nothing of it lies in the future of `outage` or prices."""
    rng = Random(f"{seed}:{day}")
    for _ in range(requests_on(day, last_day, per_day, rng)):
        at = moment_of(day, rng)
        yield from _Request(stage, rng, at, outage).records()


class _Request:
    def __init__(self, stage: Stage, rng: Random, at: dt.datetime, outage: Outage) -> None:
        self.stage, self.rng, self.at, self.outage = stage, rng, at, outage
        self.id = new_request_id(int(at.timestamp() * 1000), rng.getrandbits)
        self.project, self.key = self._who()
        self.model_id = self._model()
        self.candidates = stage.choices[self.model_id]
        self.input_tokens = max(int(rng.lognormvariate(6.6, 0.9)), 10)
        self.stream = rng.random() < 0.85

    def records(self) -> Iterator[Record]:
        if self.rng.random() < REFUSED:
            yield self._done(Outcome.USER_ERROR, 0, None, None, 1.0)
            return
        order = self._order()
        waited_ms = 0.4
        for number, endpoint in enumerate(order, start=1):
            finish = self._attempt(endpoint, number)
            yield self._intent(endpoint, number, waited_ms)
            yield finish
            waited_ms += finish.e2e_ms
            if finish.outcome in (Outcome.OK, Outcome.CLIENT_CANCELLED) or number == len(order):
                ttft = (
                    None if finish.ttft_ms is None else waited_ms - finish.e2e_ms + finish.ttft_ms
                )
                answered = endpoint if finish.outcome is not Outcome.PROVIDER_ERROR else None
                yield self._done(finish.outcome, number, answered, ttft, waited_ms, order)
                return

    def _who(self) -> tuple[Project, ApiKey]:
        team = self.rng.choices(self.stage.teams, [team.weight for team in self.stage.teams])[0]
        return team.project, self.rng.choice(team.keys)

    def _model(self) -> int:
        models = list(self.stage.choices)
        return self.rng.choices(models, [1 / (n + 1) for n in range(len(models))])[0]

    def _expected_usd(self, endpoint: Endpoint) -> Decimal:
        usage = Usage(input_total=self.input_tokens, output_total=EXPECTED_OUTPUT)
        return charge(usage, self.stage.sheets[endpoint.pk], self.at, TIER).amount_usd

    def _order(self) -> Sequence[Endpoint]:
        """Drawn by inverse price, without replacement, three at most."""
        left = list(self.candidates)
        order: list[Endpoint] = []
        while left and len(order) < 3:
            weights = [1 / (float(self._expected_usd(endpoint)) + 1e-6) for endpoint in left]
            order.append(self.rng.choices(left, weights)[0])
            left.remove(order[-1])
        return order

    def _attempt(self, endpoint: Endpoint, number: int) -> Finish:
        if self.outage.hits(endpoint, self.at) and self.rng.random() < 0.9:
            return self._failed(number, Outcome.PROVIDER_ERROR, 503)
        draw = self.rng.random()
        if draw < RATE_LIMITED:
            return self._failed(number, Outcome.RATE_LIMITED, 429)
        if draw < RATE_LIMITED + PROVIDER_ERROR:
            return self._failed(number, Outcome.PROVIDER_ERROR, 500)
        return self._answered(endpoint, number, cut=draw > 1 - CANCELLED)

    def _failed(self, number: int, outcome: Outcome, status: int) -> Finish:
        took_ms = self.rng.uniform(40, 400)
        return Finish(
            request_id=self.id,
            attempt_no=number,
            outcome=outcome,
            http_status=status,
            error_code=f"http_{status}",
            error_message=f"the simulated provider answered {status}",
            failure="capacity" if status == 429 else "transient",
            response_model="",
            provider_request_id="",
            finish_reason="",
            usage=Usage(),
            usage_raw=b"",
            cost_usd=Decimal(0),
            cost_status=CostStatus.METERED,
            lines=encode_lines(()),
            headers_ms=took_ms,
            ttft_ms=None,
            ttfa_ms=None,
            last_chunk_ms=None,
            e2e_ms=took_ms,
        )

    def _answered(self, endpoint: Endpoint, number: int, *, cut: bool) -> Finish:
        usage = self._usage(endpoint, cut=cut)
        sheet = self.stage.sheets[endpoint.pk]
        bill = charge(usage, sheet, self.at, TIER)
        traits = Random(f"traits:{endpoint.pk}")  # an endpoint is fast or slow for good
        ttft_ms = traits.uniform(120, 700) * self.rng.lognormvariate(0, 0.35)
        speed_tps = traits.uniform(45, 420) * self.rng.lognormvariate(0, 0.18)
        decode_ms = 1000 * (usage.output_total or 0) / speed_tps
        return Finish(
            request_id=self.id,
            attempt_no=number,
            outcome=Outcome.CLIENT_CANCELLED if cut else Outcome.OK,
            http_status=200,
            error_code="client_closed" if cut else "",
            error_message="",
            failure="cancelled" if cut else "",
            response_model=endpoint.upstream_model,
            provider_request_id=f"sim-{request_id_text(self.id)}-{number}",
            finish_reason="" if cut else "stop",
            usage=usage,
            usage_raw=b"",
            cost_usd=bill.amount_usd,
            cost_status=CostStatus.ESTIMATED if cut else CostStatus.METERED,
            lines=encode_lines(bill.lines),
            headers_ms=ttft_ms * 0.8,
            ttft_ms=ttft_ms if self.stream else None,
            ttfa_ms=ttft_ms if self.stream else None,
            last_chunk_ms=ttft_ms + decode_ms if self.stream else None,
            e2e_ms=ttft_ms + decode_ms + 2,
            content_frames=usage.output_total or 0,
            first_chunk_tokens=1 if self.stream else None,
        )

    def _usage(self, endpoint: Endpoint, *, cut: bool) -> Usage:
        output = max(int(self.rng.lognormvariate(5.5, 0.8)), 5)
        cached = int(self.input_tokens * 0.6) if self.rng.random() < 0.3 else 0
        return Usage(
            input_total=self.input_tokens,
            cache_read=cached or None,
            output_total=max(int(output * self.rng.random()), 1) if cut else output,
            source=UsageSource.ESTIMATED if cut else UsageSource.PROVIDER,
        )

    def _intent(self, endpoint: Endpoint, number: int, waited_ms: float) -> Intent:
        received = self.at.timestamp()
        return Intent(
            request_id=self.id,
            attempt_no=number,
            started_at=received + waited_ms / 1000,
            received_at=received,
            endpoint_id=endpoint.pk,
            credential_id=0,
            key_id=self.key.pk,
            project_id=self.project.pk,
            organization_id=self.stage.organization.pk,
            kind="traffic",
            surface="chat",
            requested_model=endpoint.model.name,
            model_id=self.model_id,
            upstream_model=endpoint.upstream_model,
            stream=self.stream,
            input_estimate=self.input_tokens,
            simulated=True,
            service_tier=TIER,
            policy=POLICY,
            policy_version=POLICY_VERSION,
        )

    def _done(
        self,
        outcome: Outcome,
        attempts: int,
        answered: Endpoint | None,
        ttft_ms: float | None,
        e2e_ms: float,
        order: Sequence[Endpoint] = (),
    ) -> RequestDone:
        return RequestDone(
            request_id=self.id,
            received_at=self.at.timestamp(),
            key_id=self.key.pk,
            project_id=self.project.pk,
            organization_id=self.stage.organization.pk,
            kind="traffic",
            surface="chat",
            requested_model=self.candidates[0].model.name,
            model_id=self.model_id,
            stream=self.stream,
            outcome=outcome,
            http_status=_CLIENT_STATUS.get(outcome, 502),
            error_code="" if outcome is Outcome.OK else outcome.value,
            attempts=attempts,
            endpoint_id=answered.pk if answered else None,
            ttft_ms=ttft_ms,
            e2e_ms=e2e_ms,
            overhead_ms=0.4,
            simulated=True,
            policy=POLICY,
            policy_version=POLICY_VERSION,
            decision=to_json(self._decision(order)) if order else b"",
        )

    def _decision(self, order: Sequence[Endpoint]) -> Decision:
        costs = {endpoint.pk: self._expected_usd(endpoint) for endpoint in self.candidates}
        weights = {pk: 1 / (float(cost) + 1e-6) for pk, cost in costs.items()}
        candidates = tuple(
            Candidate(
                endpoint_id=pk,
                cost_pico=int(cost * PICO_PER_USD),
                ttft_ms=None,
                speed_tps=None,
                success_rate=None,
                samples=0,
                score=float(cost),
                share=weights[pk] / sum(weights.values()),
            )
            for pk, cost in costs.items()
        )
        return Decision(
            policy=POLICY,
            policy_version=POLICY_VERSION,
            objective="balanced",
            model=self.candidates[0].model.name,
            candidates=candidates,
            order=tuple(endpoint.pk for endpoint in order),
            snapshot_version=0,
            input_tokens=self.input_tokens,
            output_tokens=EXPECTED_OUTPUT,
        )


_CLIENT_STATUS = {
    Outcome.OK: 200,
    Outcome.CLIENT_CANCELLED: 499,
    Outcome.RATE_LIMITED: 429,
    Outcome.USER_ERROR: 400,
}
