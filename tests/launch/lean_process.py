"""Runs a command of the launcher, and says at its end what it had loaded of what it can do without.

`python -m tests.launch.lean_process serve|recorder ...`
"""

from __future__ import annotations

import sys

from dashboard.launch.__main__ import main

HEAVY = {
    *("django", "asgiref", "celery", "kombu", "rest_framework", "drf_spectacular", "unfold"),
    *("plotly", "psycopg_pool", "httpx"),
}

if __name__ == "__main__":
    status = main(sys.argv[1:])
    loaded = {name.partition(".")[0] for name in sys.modules}
    print("loaded:", *sorted(HEAVY & loaded), flush=True)
    sys.exit(status)
