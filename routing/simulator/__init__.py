"""Pretend providers on real sockets: each in its own dialect, with its own manners, speed and prices.

A test double that must not share a mistake with what it tests, so it knows nothing of
`routing.adapters` and prices requests by itself. Start with `server.py`; `service.py` is the walk
of one request.
"""
