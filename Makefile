# One command for each thing a person wants; the steps are in scripts/.
.PHONY: help run test proof mutants fuzz bench fmt setup

help: ## print this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run: ## build and start a broker with a function behind it (ARGS="--data DIR" goes to weft run)
	@scripts/run.sh $(ARGS)

test: ## set up, then run all checks: what CI runs
	@scripts/test.sh

proof: ## prove in full that what was acknowledged survives, and print a table (over an hour)
	@scripts/proof.sh

mutants: ## break each promise on purpose and see that a test notices (ARGS=NAME for one)
	@scripts/mutants.sh $(ARGS)

fuzz: ## fuzz what comes in from outside (TARGET=headers SECONDS=600; all, 60 s each)
	@scripts/fuzz.sh $(or $(TARGET),all) $(or $(SECONDS),60)

bench: ## print the benchmark table (ARGS=quick for a short one)
	@scripts/bench.sh $(or $(ARGS),all)

fmt: ## format the code
	@cargo fmt --all

setup: ## install what building and testing need
	@scripts/setup.sh
