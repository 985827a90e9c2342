# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Thin: each target is one program in tools/. They install what they need into .venv by themselves.
.PHONY: demo demo-down test test-all lint unit docs bench format clean
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo:  ## real servers on this machine: restarted, unsealed, configured, unchanged
	@tools/demo

demo-down:  ## stop the servers of the demo and forget their state
	@tools/demo --down

test:  ## every gate that CI runs
	@tools/test

test-all:  ## the same and the long ones
	@tools/test --all

lint:  ## the gates that need no servers
	@tools/test --group static

unit:  ## seconds: unit tests and broken inputs
	@tools/test --only unit

docs:  ## reference pages as HTML in docs/_build, and the list in docs/reference.md
	@tools/run -m tools.docs build

bench:  ## ours against what people write today, on the same servers
	@tools/run -m tests.bench

format:  ## format the Python files
	@tools/run -m ruff format .
	@tools/run -m ruff check --fix .

clean:  ## stop the labs of this checkout, remove what was made in it (built programs stay cached for the user)
	@tools/clean
