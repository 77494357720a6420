"""Forms of the pages. Filters are GET forms: all state is in the address."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.http import QueryDict
from typing_extensions import override

from analytics.queries.types import Filters, Period, Scope, ceil_to_cell
from dashboard import model_kinds, throttle, words
from routing.selectors.projects import ProjectFacts

LENGTHS = {
    "1h": dt.timedelta(hours=1),
    "24h": dt.timedelta(hours=24),
    "7d": dt.timedelta(days=7),
    "30d": dt.timedelta(days=30),
    "90d": dt.timedelta(days=90),
}
PERIODS = {
    "1h": "Last hour",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "month": "This month",  # UTC, from its first instant
    "30d": "Last 30 days",
    "90d": "Last 90 days",
}
DEFAULT_PERIOD = "7d"

Choice = tuple[str, str]


@dataclass(frozen=True, slots=True)
class FilterChoices:
    """What may be chosen: only what this person sees."""

    providers: Sequence[Choice] = ()
    models: Sequence[Choice] = ()
    projects: Sequence[Choice] = ()
    keys: Sequence[Choice] = ()


@dataclass(frozen=True, slots=True)
class Chip:
    label: str
    value: str
    remove_url: str


def month_start(end: dt.datetime) -> dt.datetime:
    """Of the month that ends at or holds the instant before `end`."""
    last = end - dt.timedelta(microseconds=1)
    return last.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


class FilterForm(forms.Form):
    """One bar for a whole page. Wrong values are named and left out, never guessed."""

    period = forms.ChoiceField(choices=[*PERIODS.items()], required=False)
    provider = forms.ChoiceField(required=False)
    model = forms.ChoiceField(required=False)
    project = forms.ChoiceField(required=False)
    key = forms.ChoiceField(required=False, label="API key")
    outcome = forms.ChoiceField(
        choices=[("", "Any outcome"), *words.OUTCOMES.items()], required=False
    )
    surface = forms.ChoiceField(
        choices=[("", "Any surface"), *model_kinds.SURFACE_LABELS.items()], required=False
    )
    kind = forms.ChoiceField(
        choices=[("", "What people sent"), *words.KINDS.items(), ("all", "Everything")],
        required=False,
    )
    endpoint = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)
    until = forms.DateTimeField(
        required=False,
        widget=forms.HiddenInput,
        input_formats=["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d"],
    )

    def __init__(self, data: QueryDict, choices: FilterChoices, now: dt.datetime) -> None:
        filled = data.copy()
        filled.setdefault("period", DEFAULT_PERIOD)
        super().__init__(filled, auto_id="filter-%s")
        self._now = now
        self._given = data
        self._offer("provider", "All providers", choices.providers)
        self._offer("model", "All models", choices.models)
        self._offer("project", "All projects", choices.projects)
        self._offer("key", "All keys", choices.keys)
        self.is_valid()

    def _offer(self, name: str, all_label: str, choices: Sequence[Choice]) -> None:
        if choices:
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = [("", all_label), *choices]
        else:
            del self.fields[name]

    @property
    def _period(self) -> str:
        return self._chosen("period") or DEFAULT_PERIOD

    @property
    def period_words(self) -> str:
        """`the last 7 days`, or its dates when the window was moved back."""
        if self.cleaned_data.get("until"):
            return f"{self.span.start:%Y-%m-%d %H:%M} to {self.span.end:%Y-%m-%d %H:%M} UTC"
        words = PERIODS[self._period].lower()
        return words if self._period == "month" else f"the {words}"

    @property
    def span(self) -> Period:
        until: dt.datetime | None = self.cleaned_data.get("until")
        end = ceil_to_cell(min(until, self._now) if until else self._now)
        return Period(self._start_of(end), end)

    def _start_of(self, end: dt.datetime) -> dt.datetime:
        length = LENGTHS.get(self._period)
        return month_start(end) if length is None else end - length

    def _after(self, end: dt.datetime) -> dt.datetime:
        length = LENGTHS.get(self._period)
        return month_start(end + dt.timedelta(days=32)) if length is None else end + length

    def filters(self, scope: Scope) -> Filters:
        return Filters(
            scope=scope,
            period=self.span,
            provider=self._chosen("provider"),
            model=self._chosen("model"),
            project_id=self._id("project"),
            key_id=self._id("key"),
            endpoint_id=self.cleaned_data.get("endpoint"),
            kind=self._chosen("kind"),
            outcome=self._chosen("outcome"),
            surface=self._chosen("surface"),
        )

    def _chosen(self, name: str) -> str:
        return str(self.cleaned_data.get(name) or "")

    def _id(self, name: str) -> int | None:
        chosen = self._chosen(name)
        return int(chosen) if chosen else None

    @property
    def chips(self) -> list[Chip]:
        """What narrows the page now, each with the address that takes it away."""
        return [
            Chip(str(field.label or name.capitalize()), self._label(name), self._without(name))
            for name, field in self.fields.items()
            if name not in ("period", "until") and self.cleaned_data.get(name)
        ]

    def _label(self, name: str) -> str:
        value, field = self.cleaned_data[name], self.fields[name]
        choices: Any = getattr(field, "choices", ())
        return str(dict(choices).get(value, value))

    def _without(self, *names: str) -> str:
        kept = self._given.copy()
        for name in (*names, "after"):
            kept.pop(name, None)
        return "?" + kept.urlencode()

    @property
    def clear_url(self) -> str:
        return self._without(*(name for name in self.fields if name != "period"))

    @property
    def earlier_url(self) -> str:
        return self._moved_to(self.span.start)

    @property
    def later_url(self) -> str:
        """Empty when the window already ends now."""
        if not self.cleaned_data.get("until") or self.span.end >= self._now:
            return ""
        end = self._after(self.span.end)
        return self._without("until") if end >= self._now else self._moved_to(end)

    def _moved_to(self, end: dt.datetime) -> str:
        moved = self._given.copy()
        moved.pop("after", None)
        moved["until"] = f"{end:%Y-%m-%dT%H:%MZ}"
        return "?" + moved.urlencode()

    def address(self, path: str, **more: Any) -> str:
        """The same filters on another page."""
        kept = {
            name: self.cleaned_data[name]
            for name in self.fields
            if name != "until" and self.cleaned_data.get(name)
        }
        return f"{path}?{urlencode({**kept, **more})}"


class LoginForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "That name and password do not fit together. "
        "The first admin's login stands in first-run.json in the data folder.",
        "inactive": "This account is switched off. Ask an admin to switch it on.",
        "throttled": "Too many failed attempts. Wait a minute, then try again.",
    }

    @override
    def clean(self) -> dict[str, Any]:
        account = str(self.cleaned_data.get("username", ""))
        address = str(self.request.META.get("REMOTE_ADDR", "")) if self.request else ""
        if throttle.is_blocked(account, address):
            raise forms.ValidationError(self.error_messages["throttled"], code="throttled")
        try:
            return super().clean()
        except forms.ValidationError:
            throttle.count_failure(account, address)
            raise


class KeyForm(forms.Form):
    name = forms.CharField(
        max_length=120, label="Name", help_text="Where it is used, such as “checkout service”"
    )
    project = forms.TypedChoiceField(coerce=int)
    expires_on = forms.DateField(
        required=False,
        label="Expires on",
        help_text="At the end of that day, UTC. Empty: never",
        widget=forms.DateInput(attrs={"type": "date"}),
    )

    def __init__(self, data: Mapping[str, Any] | None, projects: Sequence[ProjectFacts]) -> None:
        super().__init__(data, auto_id="key-%s")
        field = self.fields["project"]
        assert isinstance(field, forms.TypedChoiceField)
        field.choices = [(row.id, f"{row.organization} · {row.name}") for row in projects]

    @property
    def expires_at(self) -> dt.datetime | None:
        day: dt.date | None = self.cleaned_data["expires_on"]
        if day is None:
            return None
        return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)


class MonthForm(forms.Form):
    month = forms.DateField(
        required=False,
        input_formats=["%Y-%m"],
        widget=forms.DateInput(format="%Y-%m", attrs={"type": "month"}),
    )

    def __init__(self, data: QueryDict, now: dt.datetime) -> None:
        super().__init__(data, auto_id="spend-%s")
        self.this_month = now.date().replace(day=1)

    @override
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        month = cleaned.get("month")
        if month is not None and month > self.this_month:
            self.add_error("month", "That month lies ahead: nothing was spent in it yet.")
        return cleaned

    @property
    def chosen(self) -> dt.date:
        if self.is_valid() and self.cleaned_data["month"]:
            return self.cleaned_data["month"].replace(day=1)  # type: ignore[no-any-return]
        return self.this_month


class PlaygroundForm(forms.Form):
    """What the page sends for one column. Bound to the decoded JSON body."""

    endpoint_id = forms.IntegerField(min_value=1)
    project = forms.IntegerField(min_value=1, required=False)
    prompt = forms.CharField(max_length=20_000)
    system = forms.CharField(max_length=20_000, required=False)
    max_tokens = forms.IntegerField(min_value=1, max_value=8192, initial=512)

    @property
    def first_error(self) -> str:
        field, problems = next(iter(self.errors.items()))
        return f"{field}: {problems[0]}"

    @property
    def request_body(self) -> dict[str, Any]:
        system, prompt = self.cleaned_data["system"], self.cleaned_data["prompt"]
        messages = [{"role": "system", "content": system}] if system else []
        return {
            "messages": [*messages, {"role": "user", "content": prompt}],
            "max_tokens": self.cleaned_data["max_tokens"],
        }
