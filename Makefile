# Every target calls ./panelboard, so that make is a convenience and not a need.
.DEFAULT_GOAL := help
.PHONY: help run test compile test-compiled chaos batches check fix seed clients simulate matrix bench lint types arch

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 15

run:  ## start the hub (PORT and PANELBOARD_DATA choose port and data folder)
	./panelboard up

test:  ## run the tests; ARGS="-k name" goes to pytest
	./panelboard test $(ARGS)

compile:  ## compile the gateway's hot path; what starts afterwards uses it
	./panelboard compile

test-compiled:  ## compile, then the tests of the request path with what was compiled
	./panelboard test-compiled $(ARGS)

chaos:  ## the long forms: a minute without Postgres, 300 streams when the gateway is killed
	PANELBOARD_TEST_OUTAGE_S=60 PANELBOARD_TEST_STREAMS=300 ./panelboard test tests/e2e/test_crash.py $(ARGS)

batches:  ## the long form: 10,000 lines through 4 worker processes, one of them killed every 10 s
	PANELBOARD_TEST_BATCH_LINES=10000 PANELBOARD_TEST_KILL_EVERY_S=10 PANELBOARD_TEST_KILLS=1000 \
	  ./panelboard test tests/e2e/test_batches.py -s $(ARGS)

check:  ## format, lint, types, import contracts, migrations, spelling, then the tests
	./panelboard check $(ARGS)

fix:  ## repair format and lint where a tool can
	./panelboard fix

seed:  ## fill the days up to yesterday with simulated traffic, for the pages to show
	./panelboard seed $(ARGS)

clients:  ## run the clients of the ecosystem against a hub (installed once under .panelboard/clients)
	./panelboard test tests/clients $(ARGS)

simulate:  ## play the simulated hour and put its table and picture into docs/routing.md
	./panelboard manage simulate_routing --plot docs/routing-hour.svg --page docs/routing.md $(ARGS)

matrix:  ## observe what works with what, and write docs/matrix.md
	./panelboard matrix

bench:  ## measure the gateway beside others; ARGS="--help" lists what can be chosen
	./panelboard bench $(ARGS)

lint:  ## ruff alone
	./panelboard lint

types:  ## mypy alone
	./panelboard types

arch:  ## import contracts alone
	./panelboard arch
