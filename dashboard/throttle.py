"""Slows down guessing of passwords: failures per account and per address, by the minute.

Counted in the memory of each web process: several processes allow as many times more.
"""

from __future__ import annotations

import hashlib

from django.core.cache import cache

WINDOW_S = 60
PER_ACCOUNT, PER_ADDRESS = 5, 20


def is_blocked(account: str, address: str) -> bool:
    return any(int(cache.get(key, 0)) >= limit for key, limit in _counters(account, address))


def count_failure(account: str, address: str) -> None:
    for key, _ in _counters(account, address):
        if not cache.add(key, 1, WINDOW_S):
            cache.incr(key)


def _counters(account: str, address: str) -> tuple[tuple[str, int], tuple[str, int]]:
    return (_key("account", account.lower()), PER_ACCOUNT), (_key("address", address), PER_ADDRESS)


def _key(kind: str, value: str) -> str:
    return f"login-{kind}-{hashlib.sha256(value.encode()).hexdigest()}"
