"""Loaded before Django's settings: gives the tests a database."""

from __future__ import annotations
