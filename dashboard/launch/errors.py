from __future__ import annotations


class LaunchError(Exception):
    """The hub cannot start. The message is one clear line that says what to do."""
