# Two commands do everything: `make demo` and `make test`. Python 3.11 or later, pip, git.
PYTHON ?= python3
VENV ?= .venv
# More words for pytest, such as TESTS="-k plan".
TESTS ?=
BIN := $(VENV)/bin

.PHONY: demo test bench clean

demo: $(VENV)/.run
	rm -rf demo
	$(BIN)/legend demo -o demo

test: $(VENV)/.dev
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check $(TESTS)

bench: $(VENV)/.bench
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/bench

$(VENV)/.%: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) demo
