# make demo   watch the robot: a tree drives it in a simulator, over ROS 2
# make test   everything that must hold: lint, types, tests
# Both install what they need into .venv first (pinned), so a bare clone is enough.

SHELL := /bin/bash
.PHONY: demo test lint install clean

demo: install
	@.venv/bin/vla-bt demo

test: lint
	@echo "== tests"
	@.venv/bin/python -m pytest

lint: install
	@echo "== ruff"
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@echo "== mypy"
	@tools/typecheck.sh

install:
	@tools/install.sh

clean:
	rm -rf .venv build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
