from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from routing.core.catalog import DataPolicy, PolicyDocument
from routing.models import Policy, Provider
from routing.services import keys, policies
from routing.services.policies import PolicyInvalid
from routing.services.snapshots import load_snapshot
from tests.routing.edge import documents
from tests.routing.edge.documents import BIG

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"objectiv": "cheapest"}, "objectiv", "did you mean objective"),
    ({"objective": "cheepest"}, "objective", "did you mean cheapest"),
    ({"only": "alpha"}, "only", "array"),
    ({"only": ["alfa"]}, "only", "did you mean alpha"),
    ({"order": ["alpha", "alpha"]}, "order", "2 times"),
    ({"only": ["alpha"], "ignore": ["alpha"]}, "ignore", "both in only and in ignore"),
    ({"order": ["beta"], "only": ["alpha"]}, "order", "never be reached"),
    ({"order": ["beta"], "ignore": ["beta"]}, "order", "never be reached"),
    ({"weights": {"alpha": 1}}, "weights", 'objective "weighted"'),
    ({"objective": "weighted"}, "weights", "at least one"),
    ({"objective": "weighted", "weights": {"alpha": 0}}, "weights", "at least one"),
    ({"objective": "weighted", "weights": {"alpha": -1, "beta": 1}}, "weights", "between 0"),
    (
        {"objective": "weighted", "weights": {"beta": 1}, "only": ["alpha"]},
        "weights",
        "never be reached",
    ),
    ({"objective": "ordered"}, "order", "needs an order"),
    ({"max_price_input": "1e-3"}, "max_price_input", "is not a price"),
    ({"max_price_output": "-1"}, "max_price_output", "is not a price"),
    ({"max_price_output": "0.1234567"}, "max_price_output", "decimals"),
    ({"max_attempts": 0}, "max_attempts", "between 1 and 5"),
    ({"max_price_request": "free"}, "max_price_request", "dollars per request"),
    ({"only": ["alpha/fp8", "gamma/fp8"]}, "only", "unknown provider 'gamma/fp8'"),
    ({"objective": "slo-cheapest"}, "slo", "needs a level"),
    ({"objective": "slo-cheapest", "slo": {}}, "slo", "needs a level"),
    ({"slo": {"ttft_p95_ms": 800}}, "slo", 'objective "slo-cheapest"'),
    ({"objective": "slo-cheapest", "slo": {"ttft_p95_ms": 0}}, "slo", "above 0"),
    ({"objective": "slo-cheapest", "slo": {"success_rate": 99.5}}, "slo", "write 0.995"),
    ({"slo": {"ttft": 1}}, "slo", "ttft"),
    ({"canary": {"provider": "gamma", "share": 0.1}}, "canary", "unknown provider 'gamma'"),
    ({"canary": {"provider": "beta", "share": 5}}, "canary", "write 0.05"),
    (
        {"canary": {"provider": "beta", "share": 0.1}, "ignore": ["beta"]},
        "canary",
        "never be reached",
    ),
    ({"shadow": {"provider": "beta", "share": 0}}, "shadow", "above 0"),
    ({"timeouts": {"total_s": 0}}, "timeouts", "above 0"),
    ({"timeouts": {"whole_s": 5}}, "timeouts", "whole_s"),
    ({"hedge": {"after_ms": -1}}, "hedge", "above 0"),
    ({"hedge": {"max_share": 5}}, "hedge", "0.05 for 5 %"),
    ({"hedge": {"max_usd_per_day": "lots"}}, "hedge", "is not a price"),
    ({"hedge": {}, "max_attempts": 1}, "hedge", "at least 2 attempts"),
    ({"exploration": {"share": 2}}, "exploration", "0.02 for 2 %"),
    ({"exploration": {"max_extra_cost": 5}}, "exploration", "0.05 for 5 %"),
    ({"sticky_s": -1}, "sticky_s", "0 (never)"),
    (
        {"shadow": {"provider": "beta", "share": 1, "max_usd_per_day": "much"}},
        "shadow",
        "is not a price",
    ),
    ({"stable_by": "user"}, "stable_by", "there are conversation, key"),
    ({"data_collection": "denied"}, "data_collection", "did you mean deny"),
    ({"data_collection": "deny"}, "data_collection", "leaves no endpoint"),
    ({"zdr": True}, "zdr", "leaves no endpoint"),
    ({"rules": [{"when": {}, "then": {}}]}, "rules", "rule 1: it changes nothing"),
    ({"rules": [{"when": {"model": "x"}, "then": {}}]}, "rules", "unknown field"),
    (
        {"rules": [{"when": {"needs": ["sight"]}, "then": {"zdr": False}}]},
        "rules",
        "unknown capability 'sight'",
    ),
    (
        {"rules": [{"when": {"weekdays": ["monday"]}, "then": {"zdr": False}}]},
        "rules",
        "did you mean mon",
    ),
    (
        {"rules": [{"when": {"utc_from": "8:30"}, "then": {"zdr": False}}]},
        "rules",
        "write 08:30",
    ),
    (
        {"rules": [{"when": {"models": ["openai/*", "nobody/*"]}, "then": {"zdr": False}}]},
        "rules",
        "unknown model 'nobody/*'",
    ),
    (
        {
            "rules": [
                {
                    "when": {"input_tokens_from": 10, "input_tokens_until": 10},
                    "then": {"zdr": False},
                }
            ]
        },
        "rules",
        "no request is between",
    ),
    (
        {"rules": [{"name": "night", "when": {}, "then": {"only": ["gamma"]}}]},
        "rules",
        "night: only: unknown provider 'gamma'",
    ),
    ({"rules": [{"when": {}, "then": {"rules": []}}]}, "rules", "cannot change rules"),
    ({"rules": [{"when": {}, "then": {"onyl": []}}]}, "rules", "did you mean only"),
    ({"rules": [{"when": {}, "then": {"max_attempts": "x"}}]}, "rules", "rule 1: Expected `int`"),
    ({"rules": [{"when": {}, "then": {"objective": "weighted"}}]}, "rules", "at least one"),
    ({"rules": [{"when": {}, "then": {"ignore": ["alpha", "beta"]}}]}, "rules", "no endpoint"),
    ({"quantizations": ["fp9"]}, "quantizations", "did you mean fp8"),
    ({"regions": ["mars"]}, "regions", "there are eu"),
    ({"ignore": ["alpha", "beta"]}, "ignore", "leaves no endpoint for any model"),
    ({"max_price_input": "0.05"}, "max_price_input", "the cheapest one left is 0.1 (beta"),
    ({"only": ["alpha"], "regions": ["eu"]}, "regions", "leaves no endpoint"),
]


@pytest.fixture
def _catalog(db: None) -> None:
    documents.load()


@pytest.mark.usefixtures("_catalog")
@pytest.mark.parametrize(("document", "field", "message"), WRONG)
def test_a_wrong_policy_is_refused_with_field_and_reason(
    document: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        policies.save_policy(name="mine", document=document)
    assert field in [problem[0] for problem in caught.value.problems]
    assert message in str(caught.value)
    assert not Policy.objects.exists()


@pytest.mark.usefixtures("_catalog")
@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "Share requests by price, speed and reliability; up to 3 attempts."),
        (
            {"exploration": {"share": 0.01}, "sticky_s": 60},
            (
                "Share requests by price, speed and reliability; up to 3 attempts; "
                "0.01 of requests to measure each other endpoint, for at most 0.05 of the cost, "
                "conversations stay where they are cached for 60 s."
            ),
        ),
        (
            {"exploration": {"share": 0}, "sticky_s": 0},
            (
                "Share requests by price, speed and reliability; up to 3 attempts; "
                "nothing explored, conversations move freely."
            ),
        ),
        (
            {"objective": "cheapest", "ignore": ["beta"], "max_price_output": "1"},
            (
                "Take the endpoint where this request is cheapest; never at beta; "
                "at most 1 USD per 1M output tokens; up to 3 attempts."
            ),
        ),
        (
            {"objective": "weighted", "weights": {"alpha": 3, "beta": 1}, "max_attempts": 1},
            "Share requests by fixed weights (alpha 75%, beta 25%); one attempt, no fallback.",
        ),
        (
            {"objective": "ordered", "order": ["beta", "alpha"], "quantizations": ["fp8"]},
            (
                "Take providers in their order; first beta, then alpha; quantized as fp8; "
                "up to 3 attempts."
            ),
        ),
    ],
)
def test_a_policy_is_explained_in_one_sentence(document: dict[str, Any], sentence: str) -> None:
    assert policies.review(document).sentence == sentence


@pytest.mark.usefixtures("_catalog")
def test_settings_that_only_a_rule_uses_are_no_mistake() -> None:
    document = {
        "objective": "weighted",
        "weights": {"alpha": 1, "beta": 1},
        "slo": {"ttft_p95_ms": 900, "success_rate": 0.995},
        "canary": {"provider": "beta", "share": 0.05},
        "stable_by": "key",
        "rules": [
            {"when": {"tags": ["cheap"]}, "then": {"objective": "cheapest"}},
            {
                "name": "night",
                "when": {"utc_from": "22:00", "utc_until": "06:00", "needs": ["tools"]},
                "then": {"objective": "slo-cheapest", "only": ["beta"], "canary": None},
            },
        ],
    }
    review = policies.review(document)
    assert review.sentence == (
        "Share requests by fixed weights (alpha 50%, beta 50%); 0.05 of requests first at beta; "
        "the same endpoint for the same key; up to 3 attempts; "
        "tagged cheap: objective cheapest; "
        "needing tools from 22:00 until 06:00 UTC: objective slo-cheapest, only beta, canary None."
    )


@pytest.mark.usefixtures("_catalog")
def test_a_promise_of_a_provider_lets_it_take_requests_that_need_it() -> None:
    promised = {"trains_on_prompts": False, "retention_days": 0}
    Provider.objects.filter(slug="beta").update(data_policy=promised)
    review = policies.review({"data_collection": "deny", "zdr": True})
    assert review.endpoints_left == 2
    assert "promise not to train on prompts and promise to keep nothing" in review.sentence
    of = {one.provider.slug: one.provider for one in load_snapshot().endpoints.values()}
    assert of["beta"].data_policy == DataPolicy(trains_on_prompts=False, retention_days=0)
    assert of["alpha"].data_policy == DataPolicy()


@pytest.mark.usefixtures("_catalog")
def test_a_policy_saved_before_a_setting_existed_is_the_same_policy() -> None:
    version = policies.save_policy(name="mine", document={"objective": "cheapest"})
    old = {"objective": "cheapest", "max_attempts": 3}
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # past the guard of history
        cursor.execute(
            "UPDATE routing_policyversion SET document = %s WHERE id = %s",
            [json.dumps(old), version.pk],
        )
        cursor.execute("SET session_replication_role = DEFAULT")
    assert policies.save_policy(name="mine", document={"objective": "cheapest"}) == version


@pytest.mark.usefixtures("_catalog")
def test_a_review_tells_what_is_left_and_what_is_doubtful() -> None:
    review = policies.review({"objective": "fastest", "only": ["beta"]})
    assert (review.endpoints_left, review.models_left) == (2, 2)
    assert any("no measurement yet" in warning for warning in review.warnings)
    assert any(BIG in warning for warning in review.warnings)  # alpha has it too


@pytest.mark.usefixtures("_catalog")
def test_paused_providers_leave_nothing_to_route_to() -> None:
    Provider.objects.filter(slug="alpha").update(lifecycle="paused")
    with pytest.raises(PolicyInvalid, match="leaves no endpoint"):
        policies.validate({"only": ["alpha"]})


@pytest.mark.django_db
def test_a_policy_may_be_written_before_the_catalog() -> None:
    assert policies.validate({"max_price_input": "0.01"}) == PolicyDocument(max_price_input="0.01")


@pytest.mark.usefixtures("_catalog")
def test_saving_again_adds_a_version_and_keeps_the_old_one() -> None:
    author = User.objects.create(username="ada")
    first = policies.save_policy(name="mine", document={"objective": "cheapest"}, user=author)
    second = policies.save_policy(name="mine", document={"objective": "fastest"})
    assert (first.version, second.version) == (1, 2)
    policy = Policy.objects.get(name="mine")
    assert policy.current == second
    assert [row.version for row in policy.versions.all()] == [2, 1]
    assert first.created_by == author


@pytest.mark.usefixtures("_catalog")
def test_saving_the_same_document_adds_no_version() -> None:
    first = policies.save_policy(name="mine", document={"objective": "cheapest"})
    assert policies.save_policy(name="mine", document={"objective": "cheapest"}) == first


@pytest.mark.usefixtures("_catalog")
def test_there_is_one_default() -> None:
    policies.ensure_default()
    policies.save_policy(name="mine", document={}, is_default=True)
    assert Policy.objects.get(is_default=True).name == "mine"
    assert policies.ensure_default().name == "mine"


@pytest.mark.usefixtures("_catalog")
@pytest.mark.parametrize("name", ["fastest", "floor", "alpha", "with blank", "", "x" * 51])
def test_a_name_that_could_not_be_a_suffix_is_refused(name: str) -> None:
    with pytest.raises(PolicyInvalid, match="name"):
        policies.save_policy(name=name, document={})


@pytest.mark.usefixtures("_catalog")
def test_a_policy_in_use_cannot_be_archived() -> None:
    policy = policies.save_policy(name="mine", document={}).policy
    key, _ = keys.create_key(project=documents.project(), name="app", policy=policy)
    with pytest.raises(PolicyInvalid, match="key app"):
        policies.archive_policy(policy)
    keys.revoke_key(key)
    assert policies.archive_policy(policy).archived_at is not None


@pytest.mark.usefixtures("_catalog")
def test_saving_an_archived_policy_brings_it_back() -> None:
    policies.archive_policy(policies.save_policy(name="mine", document={}).policy)
    assert policies.save_policy(name="mine", document={}).policy.archived_at is None
