"""Files and batches: plain SQL, for gateways without Django and for the tasks that do the work.

A gateway takes files and batches from clients and runs single lines; Celery's workers choose the
lines and hand them over (`runner`). Postgres alone says what is to be done and what has been done:
a worker or a gateway may die at any moment.
"""
