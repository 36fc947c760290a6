# make demo   watch the robot: a tree drives it in a simulator, over ROS 2
# make test   everything that must hold: lint, types, tests
# Both install what they need into .venv first (pinned), so a bare clone is enough.

.PHONY: demo test lint install browser style types tests clean

demo: install
	@.venv/bin/vla-bt demo

# Every step runs, so that one look shows all that fails; the exit code is 0 only if none did.
test: install browser
	@$(MAKE) --no-print-directory --keep-going style types tests

lint: install
	@$(MAKE) --no-print-directory --keep-going style types

install:
	@tools/install.sh

browser: install
	@tools/browser.sh

style:
	@echo "== ruff"
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .

types:
	@echo "== mypy"
	@tools/typecheck.sh

tests:
	@echo "== pytest"
	@.venv/bin/python -m pytest

clean:
	rm -rf .venv build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
