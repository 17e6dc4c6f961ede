# Each target does its own set-up; everything is installed into .venv/.
.PHONY: help quickstart test soak lint crds chart generate format unit integration e2e coverage docs setup clean

# Tests that share what is costly stay together, and the longest begin (tests/conftest.py).
BESIDE := --dist loadgroup --no-loadscope-reorder

# See tests/conftest.py.
export GODEBUG := asyncpreemptoff=1

help: ## Say what can be made
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

quickstart: ## Profile, search and refine on this machine (runs/quickstart)
	@hack/setup run
	.venv/bin/edgetran run -f examples/quickstart.yaml

# The tests on the cluster share one process, which mostly waits for pods: two others work beside it.
test: lint ## Lint and every test
	.venv/bin/pytest -n 3 $(BESIDE) --durations=20 -m "not soak"

soak: setup ## Long series, properties with 20 times the examples, a current Kubernetes' server
	.venv/bin/pytest -m "soak" tests
	EDGETRAN_CHAOS_KILLS=50 .venv/bin/pytest tests/e2e/test_cluster_chaos.py -k killed_at_random
	.venv/bin/pytest -n 2 $(BESIDE) -m "hypothesis and not soak" --hypothesis-profile=soak tests/unit
	.venv/bin/pytest tests/integration/test_crds_current_api.py

lint: setup ## Format, lint, types and the doors between the rooms
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python hack/crds.py --check
	.venv/bin/python hack/chart.py --check
	.venv/bin/python hack/dashboards.py --check
	.venv/bin/python hack/benchmarks.py --check
	.venv/bin/python hack/reference.py --check

crds: setup ## Write crds/ from edgetran.api, and the chart's copies
	.venv/bin/python hack/crds.py
	.venv/bin/python hack/chart.py

chart: crds ## Write what is generated in charts/edgetran
	.venv/bin/python hack/dashboards.py

generate: chart ## Write everything that is generated
	.venv/bin/python hack/benchmarks.py
	.venv/bin/python hack/reference.py

unit: setup ## The quick tests only: no cluster, no network
	.venv/bin/pytest -n 2 $(BESIDE) -m "not integration and not soak" tests/unit

integration: setup ## Several real parts together: an API server, workers, a browser
	.venv/bin/pytest -n 2 $(BESIDE) -m "integration and not e2e and not soak"

e2e: setup ## The whole of it, as a user runs it and on a cluster of three nodes
	.venv/bin/pytest -n 2 $(BESIDE) -m "e2e and not soak"

coverage: setup ## What the quick tests do not reach: a table, and runs/coverage/index.html
	.venv/bin/pytest -n 2 $(BESIDE) -m "not integration and not soak" --cov --cov-report=term --cov-report=html tests/unit

docs: ## Build the documentation's site (runs/site), which has no warning
	@hack/setup docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

format: setup ## Rewrite the code in the project's format
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

setup: ## Install what developers need
	@hack/setup test

clean: ## Remove what was installed and made here, runs included
	rm -rf .venv runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
