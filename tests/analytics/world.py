"""The catalog and teams that the tests of telemetry happen in."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from routing.models import ApiKey, Endpoint, Model, Organization, Price, Project, Provider


@dataclass
class World:
    """Two organizations, two providers, one model, three endpoints, prices since long ago."""

    acme: Organization
    rival: Organization
    project: Project
    other_project: Project
    rival_project: Project
    key: ApiKey
    other_key: ApiKey
    rival_key: ApiKey
    model: Model
    second_model: Model
    swift: Provider
    steady: Provider
    at_swift: Endpoint
    at_steady: Endpoint
    second_at_steady: Endpoint


def _key(project: Project, name: str) -> ApiKey:
    digest = name.encode().ljust(32, b".")
    return ApiKey.objects.create(
        project=project, name=name, start="pb_live_12345678", last4="abcd", digest=digest
    )


def _model(name: str) -> Model:
    return Model.objects.create(
        name=name,
        slug=name.replace("/", "-"),
        title=name,
        maker="Acme",
        input_modalities=["text"],
        output_modalities=["text"],
    )


def _endpoint(provider: Provider, model: Model, usd_in: str, usd_out: str) -> Endpoint:
    endpoint = Endpoint.objects.create(provider=provider, model=model, upstream_model=model.name)
    for meter, usd in (("input", usd_in), ("output", usd_out)):
        Price.objects.create(
            endpoint=endpoint,
            meter=meter,
            unit_price_usd=Decimal(usd),
            effective_from=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            source="test",
            checked_on=dt.date(2026, 1, 1),
        )
    return endpoint


def make_world() -> World:
    acme = Organization.objects.create(slug="acme", name="Acme")
    rival = Organization.objects.create(slug="rival", name="Rival")
    project = Project.objects.create(organization=acme, slug="main", name="Main")
    other = Project.objects.create(organization=acme, slug="other", name="=Other()")
    foreign = Project.objects.create(organization=rival, slug="main", name="Rival main")
    swift = Provider.objects.create(
        slug="swift",
        name="Swift",
        dialect="openai_compat",
        base_url="https://swift.example/v1",
        quirks={"settlement_path": "/settlement"},
    )
    steady = Provider.objects.create(
        slug="steady", name="Steady", dialect="openai_compat", base_url="https://steady.example/v1"
    )
    first, second = _model("acme/one"), _model("acme/two")
    return World(
        acme=acme,
        rival=rival,
        project=project,
        other_project=other,
        rival_project=foreign,
        key=_key(project, "key"),
        other_key=_key(other, "other key"),
        rival_key=_key(foreign, "rival key"),
        model=first,
        second_model=second,
        swift=swift,
        steady=steady,
        at_swift=_endpoint(swift, first, "0.15", "0.60"),
        at_steady=_endpoint(steady, first, "0.10", "0.50"),
        second_at_steady=_endpoint(steady, second, "1", "3"),
    )
