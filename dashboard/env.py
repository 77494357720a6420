"""Typed readers of the environment. A wrong value stops the start with one clear line."""

from __future__ import annotations

import os
from pathlib import Path


class BadSetting(SystemExit):
    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"panelboard: {name} {problem}")


def env_str(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def env_int(name: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
    text = env_str(name)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        raise BadSetting(name, f"must be a whole number, not {text!r}") from None
    if not least <= value <= most:
        raise BadSetting(name, f"must be between {least} and {most}, not {value}")
    return value


def env_bool(name: str, *, default: bool) -> bool:
    text = env_str(name).lower()
    if not text:
        return default
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise BadSetting(name, f"must be one of 1, 0, true, false, yes, no, on, off, not {text!r}")


def env_list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in env_str(name, default).split(",") if part.strip()]


def env_choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    value = env_str(name, default)
    if value not in choices:
        raise BadSetting(name, f"must be one of {', '.join(choices)}, not {value!r}")
    return value


def env_secret(name: str) -> str:
    """The variable itself, or the contents of the file that `<name>_FILE` points to."""
    path = env_str(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as exc:
            raise BadSetting(f"{name}_FILE", f"cannot be read: {exc.strerror}") from None
    return env_str(name)
