from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from routing.core.catalog import PolicyDocument
from routing.models import Policy, Provider
from routing.services import keys, policies
from routing.services.policies import PolicyInvalid
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
