"""The first organization, project, admin and tokens, and the file that tells of them.

The plaintext of a token exists nowhere but in that file, readable by its owner alone.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db.models import Count, Q

from dashboard.launch import report
from dashboard.launch.errors import LaunchError
from dashboard.launch.upstreams import Switched
from routing.core import tokens as token_format
from routing.models import AccessToken, ApiKey, Endpoint, Membership, Model, Organization, Project
from routing.services import keys, tokens

ADMIN = "admin"
FIRST_MODEL = "openai/gpt-oss-120b"  # when some provider offers it, else what most of them offer
CHANGED_SINCE = "(changed since the first start)"
GONE = "(revoked: make a new one in the admin)"


@dataclass(frozen=True, slots=True)
class FirstRun:
    path: str
    url: str = ""
    admin_username: str = ADMIN
    admin_password: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    rest_token: str = field(default="", repr=False)
    organization: str = "default"
    project: str = "default"
    simulator_url: str = ""
    real_providers: tuple[str, ...] = ()
    curl: str = field(default="", repr=False)


def ensure(path: Path, *, url: str, simulator_url: str, switched: Switched) -> FirstRun:
    """What is missing is made; what the file knows is kept; what was changed since is marked."""
    known = _read(path)
    project = _project()
    admin, password = _admin(project.organization, known.admin_password)
    api_key = _api_key(project, admin, known.api_key)
    _internal_keys(project)
    document = replace(
        known,
        path=str(path),
        url=url,
        admin_password=password,
        api_key=api_key,
        rest_token=_rest_token(project.organization, admin, known.rest_token),
        simulator_url=simulator_url if switched.simulated else "",
        real_providers=switched.real,
        curl=report.curl(url, api_key, _first_model()),
    )
    _write(path, document)
    return document


def _project() -> Project:
    organization, _ = Organization.objects.get_or_create(
        slug="default", defaults={"name": "Default"}
    )
    project, _ = Project.objects.get_or_create(
        organization=organization, slug="default", defaults={"name": "Default"}
    )
    return project


def _admin(organization: Organization, known_password: str) -> tuple[User, str]:
    admin = get_user_model().objects.filter(username=ADMIN).first()
    if admin is None:
        password = secrets.token_urlsafe(15)
        admin = get_user_model().objects.create_superuser(ADMIN, password=password)
    else:
        password = known_password if admin.check_password(known_password) else CHANGED_SINCE
    Membership.objects.get_or_create(
        organization=organization, user=admin, defaults={"role": Membership.Role.OWNER}
    )
    return admin, password


def _api_key(project: Project, admin: User, known: str) -> str:
    row = ApiKey.objects.filter(digest=_digest(known)).first() if _is_token(known) else None
    if known == GONE or (row is not None and row.revoked_at is not None):
        return GONE
    if row is not None:
        return known
    # none yet, or the file belongs to another database
    return keys.create_key(project=project, name="first run", created_by=admin)[1]


def _rest_token(organization: Organization, admin: User, known: str) -> str:
    row = AccessToken.objects.filter(digest=_digest(known)).first() if _is_token(known) else None
    if known == GONE or (row is not None and row.revoked_at is not None):
        return GONE
    if row is not None:
        return known
    return tokens.create_access_token(
        organization=organization, name="first run", scopes=tokens.SCOPES, created_by=admin
    )[1]


def _is_token(text: str) -> bool:
    return bool(text) and text != GONE


def _digest(plaintext: str) -> bytes:
    return token_format.digest(settings.PANELBOARD_PEPPER, plaintext)


def _internal_keys(project: Project) -> None:
    keys.probe_key()
    keys.internal_key(project=project, kind=ApiKey.Kind.PLAYGROUND)


def _first_model() -> str:
    usable = Q(
        endpoints__status=Endpoint.Status.ACTIVE,
        endpoints__provider__credentials__isnull=False,
        endpoints__provider__credentials__disabled_at=None,
    )
    offered = Model.objects.annotate(offers=Count("endpoints", filter=usable, distinct=True))
    by_offers = offered.filter(offers__gt=0).order_by("-offers", "name")
    found = by_offers.filter(name=FIRST_MODEL).first() or by_offers.first()
    return found.name if found else FIRST_MODEL


def _read(path: Path) -> FirstRun:
    if not path.exists():
        return FirstRun(path=str(path))
    try:
        document = json.loads(path.read_text())
        if not isinstance(document, dict):
            raise TypeError("it is no JSON object")
        known = {name: document[name] for name in FirstRun.__slots__ if name in document}
        return FirstRun(**{"path": str(path), **known})
    except (OSError, ValueError, TypeError) as exc:
        raise LaunchError(f"{path} cannot be read: {exc}; move it away to make a new one") from None


def _write(path: Path, document: FirstRun) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(document), file, indent=1)
    fresh.replace(path)
