"""Routing policies: validated, explained, and saved as versions that are never edited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import transaction
from django.utils import timezone

from routing.core.catalog import PolicyDocument
from routing.core.names import OBJECTIVE_SUFFIXES
from routing.models import ApiKey, Policy, PolicyVersion, Project, Provider
from routing.services import policy_offers, policy_rules, policy_words

DEFAULT_NAME = "balanced"
NAME_LENGTH = 50


class PolicyInvalid(ValueError):
    """Nothing was saved. `problems` are (field, message); field "" means the policy as a whole."""

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = list(problems)
        super().__init__(
            "; ".join(
                f"{field}: {message}" if field else message for field, message in self.problems
            )
        )


class Review(msgspec.Struct, frozen=True):
    """What a person should see before saving."""

    document: PolicyDocument
    sentence: str
    warnings: tuple[str, ...]
    endpoints_left: int
    models_left: int


def validate(document: Mapping[str, Any]) -> PolicyDocument:
    """Raises PolicyInvalid with every problem found."""
    return review(document).document


def check(name: str, document: Mapping[str, Any]) -> Review:
    """As `save_policy` would judge, without saving. Raises PolicyInvalid."""
    if problem := _wrong_name(name):
        raise PolicyInvalid([("name", problem)])
    return review(document)


def review(document: Mapping[str, Any]) -> Review:
    """Raises PolicyInvalid with every problem found."""
    typed = policy_rules.converted(document)
    if isinstance(typed, tuple):
        raise PolicyInvalid([typed])
    known = policy_offers.known_now()
    if found := policy_rules.problems(typed, known):
        raise PolicyInvalid(found)
    left = policy_rules.offers_left(typed, known)
    return Review(
        document=typed,
        sentence=explain(document),
        warnings=tuple(policy_rules.warnings(typed, known)),
        endpoints_left=len(left),
        models_left=len({offer.model for offer in left}),
    )


def save_policy(
    *,
    name: str,
    document: Mapping[str, Any],
    user: User | None = None,
    description: str | None = None,
    is_default: bool | None = None,
) -> PolicyVersion:
    """A new policy or a new version of one; the same document again adds no version.

    `None` leaves the description, and whether it is the default, as they are. Raises PolicyInvalid.
    """
    typed = check(name, document).document
    with transaction.atomic():
        policy, _ = Policy.objects.select_for_update().get_or_create(name=name)
        _set_facts(policy, description, is_default)
        version = _add_version(policy, typed, user)
        policy.current = version
        policy.archived_at = None
        policy.save()
    return version


def ensure_default() -> Policy:
    """The hub's default policy as a row that an admin can see and change."""
    found = Policy.objects.filter(is_default=True).first()
    if found is not None:
        return found
    version = save_policy(
        name=DEFAULT_NAME,
        document={},
        description="Cheaper, quicker and steadier endpoints get more of the requests.",
        is_default=True,
    )
    return version.policy


def archive_policy(policy: Policy) -> Policy:
    """Keeps the history; the name routes no more. Raises PolicyInvalid while something uses it."""
    if users := _users_of(policy):
        raise PolicyInvalid([(policy_rules.GENERAL, f"{policy.name} is still used by {users}")])
    policy.archived_at = policy.archived_at or timezone.now()
    policy.save(update_fields=["archived_at"])
    return policy


def explain(document: Mapping[str, Any]) -> str:
    """The policy as one sentence. The document must have the right form, else PolicyInvalid."""
    typed = policy_rules.converted(document)
    if isinstance(typed, tuple):
        raise PolicyInvalid([typed])
    return policy_words.sentence(typed)


def _wrong_name(name: str) -> str:
    try:
        validate_slug(name)
    except ValidationError:
        return "use letters, digits, hyphens and underscores: it is a model suffix"
    if len(name) > NAME_LENGTH:
        return f"at most {NAME_LENGTH} characters"
    if name in OBJECTIVE_SUFFIXES:
        return f":{name} is a suffix of the hub's own: choose another name"
    if Provider.objects.filter(slug=name).exists():
        return f":{name} already means the provider: choose another name"
    return ""


def _set_facts(policy: Policy, description: str | None, is_default: bool | None) -> None:
    if description is not None:
        policy.description = description
    if is_default:
        Policy.objects.filter(is_default=True).exclude(pk=policy.pk).update(is_default=False)
    if is_default is not None:
        policy.is_default = is_default


def _add_version(policy: Policy, document: PolicyDocument, user: User | None) -> PolicyVersion:
    # Every field: what is a default today is kept for ever. Through JSON, as it will come back.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    current = policy.current
    if current is not None and _as_now(current.document) == plain:
        return current
    last = policy.versions.order_by("-version").values_list("version", flat=True).first() or 0
    return PolicyVersion.objects.create(
        policy=policy, version=last + 1, document=plain, created_by=user
    )


def _as_now(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the defaults of settings that did not exist when it was saved."""
    typed = policy_rules.converted(document)
    if isinstance(typed, tuple):
        return document
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(typed))
    return plain


def _users_of(policy: Policy) -> str:
    uses = ["the hub as its default"] if policy.is_default else []
    projects = Project.objects.filter(policy=policy, archived_at=None)
    keys = ApiKey.objects.filter(policy=policy, revoked_at=None)
    uses += [f"project {slug}" for slug in projects.values_list("slug", flat=True)[:5]]
    uses += [f"key {name}" for name in keys.values_list("name", flat=True)[:5]]
    return ", ".join(uses)
