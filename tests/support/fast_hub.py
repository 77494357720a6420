"""A whole hub whose simulated providers answer at once, for tests that look at what is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.support.running_hub import RunningHub, data_folder

# The hub's own probes would be among what the providers received.
AT_ONCE = {"SIMULATOR_SPEED": "0", "PANELBOARD_PROBE_DAILY_USD": "0"}


@contextmanager
def fast_hub(environment: Mapping[str, str] | None = None) -> Iterator[RunningHub]:
    with data_folder() as folder:
        hub = RunningHub(folder, {**AT_ONCE, **(environment or {})})
        hub.start()
        try:
            yield hub
        finally:
            hub.stop()
        assert "Traceback" not in hub.output, hub.output
