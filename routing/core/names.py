"""From what a client wrote in `model` to a canonical model and a way of routing."""

from __future__ import annotations

from difflib import get_close_matches

import msgspec

from routing.core.catalog import Snapshot
from routing.core.errors import HubError

MAX_RESOLVED = 1024  # names of one snapshot; upper and lower case count apart

# suffix -> objective; the last two are for those who come from OpenRouter
OBJECTIVE_SUFFIXES = {
    "fastest": "fastest",
    "cheapest": "cheapest",
    "lowest-latency": "lowest-latency",
    "preferred": "preferred",
    "nitro": "fastest",
    "floor": "cheapest",
}


class Resolution(msgspec.Struct, frozen=True):
    model: str
    objective: str = ""
    pinned_provider: str = ""
    policy_name: str = ""


# What was found in the newest snapshot; a name that cannot be resolved is not kept.
_resolved: tuple[Snapshot | None, dict[str, Resolution]] = (None, {})


def resolve(requested: str, snapshot: Snapshot) -> Resolution:
    """Raises HubError: 404 `model_not_found` with near matches, 400 `unknown_suffix`."""
    global _resolved  # noqa: PLW0603 - one snapshot per process, replaced whole
    known_in, known = _resolved
    if known_in is not snapshot:
        known = {}
        _resolved = snapshot, known
    found = known.get(requested)
    if found is None:
        found = _resolve(requested, snapshot)
        if len(known) >= MAX_RESOLVED:
            known.clear()
        known[requested] = found
    return found


def _resolve(requested: str, snapshot: Snapshot) -> Resolution:
    model = find_model(requested, snapshot)
    if model is not None:  # a model id may itself contain ':', so the whole is tried first
        return Resolution(model)
    base, colon, suffix = requested.rpartition(":")
    model = find_model(base, snapshot) if colon else None
    if model is None:
        raise _not_found(requested, base if colon else requested, snapshot)
    return _with_suffix(model, suffix, snapshot)


def find_model(name: str, snapshot: Snapshot) -> str | None:
    if name in snapshot.models:
        return name
    return snapshot.aliases.get(name.lower())


def _with_suffix(model: str, suffix: str, snapshot: Snapshot) -> Resolution:
    objective = OBJECTIVE_SUFFIXES.get(suffix)
    if objective is not None:
        return Resolution(model, objective=objective)
    if suffix in snapshot.providers:
        return Resolution(model, pinned_provider=suffix)
    if suffix in snapshot.policies:
        return Resolution(model, policy_name=suffix)
    raise _unknown_suffix(model, suffix, snapshot)


def _not_found(requested: str, base: str, snapshot: Snapshot) -> HubError:
    near = near_models(base, snapshot)
    words = f"The model '{requested[:200]}' does not exist on this hub. {_hint(near)}"
    model = find_model(base.partition(":")[0], snapshot)
    if model is not None:
        words = f"'{requested[:200]}' has several suffixes, and {model} takes one. The 'provider' "
        words += "object of the body can say the rest"
    return _no_model(words, "model", near)


def unknown_fallback(requested: str, snapshot: Snapshot) -> HubError:
    near = near_models(requested, snapshot)
    words = f"The fallback model '{requested[:200]}' does not exist on this hub. {_hint(near)}"
    return _no_model(words, "models", near)


def check_provider(name: str, snapshot: Snapshot, param: str) -> None:
    """Raises HubError 400 for a name, such as `groq` or `deepinfra/fp4`, of no provider there is.

    One that is paused, or does not serve the model, is no mistake.
    """
    slug = name.partition("/")[0]
    known = snapshot.providers
    if slug in known or slug in snapshot.resting_providers:
        return
    near = get_close_matches(slug.lower()[:60], known, n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(near)}?" if near else f"There are {', '.join(sorted(known))}."
    raise HubError(
        400,
        "unknown_provider",
        f"'{name[:60]}' in '{param}' is no provider of this hub. {hint}",
        param=param,
        should_retry=False,
        detail={"near_matches": near},
    )


def _hint(near: list[str]) -> str:
    return f"Did you mean {', '.join(near)}?" if near else "GET /v1/models lists what exists."


def _no_model(words: str, param: str, near: list[str]) -> HubError:
    return HubError(
        404,
        "model_not_found",
        words,
        param=param,
        should_retry=False,
        detail={"near_matches": near},
    )


def near_models(name: str, snapshot: Snapshot) -> list[str]:
    known = {model.lower(): model for model in snapshot.models}
    shorts = {model.rpartition("/")[2].lower(): model for model in snapshot.models}
    wanted = name.lower()[:200]
    hits = get_close_matches(wanted, known, n=3, cutoff=0.5)
    hits_short = get_close_matches(wanted.rpartition("/")[2], shorts, n=3, cutoff=0.5)
    found = [known[hit] for hit in hits] + [shorts[hit] for hit in hits_short]
    return list(dict.fromkeys(found))[:3]


def _unknown_suffix(model: str, suffix: str, snapshot: Snapshot) -> HubError:
    providers = sorted({e.provider.slug for e in snapshot.endpoints_of.get(model, ())})
    policies = sorted(snapshot.policies)
    return HubError(
        400,
        "unknown_suffix",
        f"':{suffix[:60]}' is not a way to route {model}. Use one of "
        f"{', '.join(':' + name for name in OBJECTIVE_SUFFIXES)}; a provider: "
        f"{', '.join(':' + name for name in providers) or 'none has this model'}; or a policy: "
        f"{', '.join(':' + name for name in policies) or 'none is defined'}.",
        param="model",
        should_retry=False,
        detail={
            "objectives": list(OBJECTIVE_SUFFIXES),
            "providers": providers,
            "policies": policies,
        },
    )
