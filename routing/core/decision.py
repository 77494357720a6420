"""The record of how a request was routed: every candidate, its numbers, why it was excluded."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from routing.core.catalog import Endpoint
from routing.core.policies import PolicyDocument


class Exclusion(StrEnum):
    """Stable codes, shown to clients, in decisions and on receipts."""

    NO_CREDENTIAL = "no_credential"
    NO_PRICE = "no_price"
    RETIRED = "retired"
    NOT_IN_ONLY = "not_in_only"
    IGNORED = "ignored"
    NOT_PINNED = "not_pinned"
    MAX_PRICE = "max_price"
    CONTEXT_WINDOW = "context_window"
    MAX_OUTPUT = "max_output"
    MISSING_CAPABILITY = "missing_capability"
    OTHER_DIALECT = "other_dialect"  # what is asked can be said in the client's dialect only
    PARAMETER_UNSUPPORTED = "parameter_unsupported"
    QUANTIZATION = "quantization"
    REGION = "region"
    DATA_POLICY = "data_policy"
    DISTILLATION = "distillation"  # the model's licence is not known to let others learn from it
    BREAKER_OPEN = "breaker_open"
    COOLING_DOWN = "cooling_down"  # a 429 asked us to wait
    CAPACITY_CAP = "capacity_cap"  # it takes no more just now, by its 429s or its headers
    HUB_REFUSED = "hub_refused"  # the provider refused the hub's key or account several times
    FALLBACKS_OFF = "fallbacks_off"


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    """One endpoint as the policy saw it. Costs are integers of 10**-12 USD."""

    endpoint_id: int
    cost_pico: int
    ttft_ms: float | None
    speed_tps: float | None
    success_rate: float | None
    samples: int
    score: float  # lower is better; the objective's own unit
    share: float  # probability of being drawn first, 0..1
    excluded: str = ""  # an Exclusion, "" when eligible
    detail: str = ""  # what exactly was missing, or kept an eligible one from ranking higher
    valid_rate: float | None = None  # of answers with a form: the sound ones; None: none is needed
    valid_samples: int = 0  # that it rests on
    explored: float = 0.0  # the part of `share` that is there to keep it measured


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """Stored as an array and read by place: fields are only ever added at the end."""

    policy: str
    policy_version: int
    objective: str
    model: str
    candidates: tuple[Candidate, ...]
    order: tuple[int, ...]  # endpoint ids in the order they would be tried
    snapshot_version: int
    input_tokens: int = 0  # that the costs were estimated for
    output_tokens: int = 0
    rule: str = ""  # of the policy: the one that held for this request
    shadow: int = 0  # id of the endpoint that copies may go to
    exploration_pico: int = 0  # what exploring adds to the expected cost, or saves if below 0
    home: int = 0  # id of the endpoint that the conversation stays at
    explored_share: float = 0.0  # of such requests, that go elsewhere to keep endpoints measured
    usual_pico: int = 0  # expected cost of a request without exploring, where there is some


class Plan(msgspec.Struct, frozen=True):
    attempts: tuple[Endpoint, ...]
    decision: Decision
    record: bytes  # the decision as JSON, as the log stores it
    shadow: Endpoint | None = None  # see core.shadow
    max_attempts: int = 1  # of the settings that hold for this request, retries included
    special: PolicyDocument | None = None  # those settings, where they say how to try


_encode = msgspec.json.Encoder().encode
_PLACES = {name: place for place, name in enumerate(Decision.__struct_fields__)}
EXPLORATION_PLACE = _PLACES["exploration_pico"]  # in the stored array
EXPLORED_SHARE_PLACE = _PLACES["explored_share"]
USUAL_PLACE = _PLACES["usual_pico"]


def to_json(decision: Decision) -> bytes:
    return _encode(decision)
