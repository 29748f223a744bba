# The door to the project: `make help` lists what is behind it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Paths stay relative, so that a checkout in a folder with spaces works.
BIN := .venv/bin
PYTHON_FILES := activeuf_core activeuf_dagster scripts studies tests
HOME_FOLDER := $(or $(ACTIVEUF_HOME),.activeuf)
MODEL := $(HOME_FOLDER)/models/SmolLM2-135M-Instruct
# A home of its own: what `make demo` made there would be adopted, and no job would run. It shares the models.
SLURM_DEMO := $(HOME_FOLDER)/slurm-demo
SANDBOX := slurm/sandbox

.PHONY: help setup model browser slurm ssh postgres demo demo-slurm ui slurm-up slurm-down slurm-status test chaos bench-slurm bench-plan bench-recovery bench-core bench-training bench-evaluation bench-rewardbench check format lock clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | awk -F '\t' '{ printf "make %-14s %s\n", $$1, $$2 }'

setup: ## make .venv from requirements.lock (nothing to do: 0.1 s)
	@PYTHON='$(PYTHON)' scripts/setup.sh

model: setup ## fetch and build the demo's small real model
	@$(BIN)/python scripts/build_demo_model.py --out '$(MODEL)'

demo: model ## materialize the demo's graph and print its leaderboard
	@$(BIN)/activeuf demo

demo-slurm: model slurm-up ## the same graph as jobs of a SLURM cluster on this machine
	@mkdir -p '$(SLURM_DEMO)'
	@ln -sfn ../models '$(SLURM_DEMO)/models'
	@ACTIVEUF_CLUSTER=sandbox ACTIVEUF_HOME='$(SLURM_DEMO)' $(SANDBOX)/with.sh $(BIN)/activeuf demo

ui: setup ## open the Dagster UI on the same instance
	@$(BIN)/activeuf ui

slurm-up: ## start a SLURM cluster on this machine; DBD=1 with accounting (sacct)
	@$(SANDBOX)/up.sh $(if $(DBD),--dbd)

slurm-down: ## end that cluster; FORCE=1 cancels its jobs
	@$(SANDBOX)/down.sh $(if $(FORCE),--force)

slurm-status: ## show the nodes and the queue of that cluster
	@$(SANDBOX)/with.sh sinfo --noheader --format='%N %T: %c CPUs, %m MB, %G' --partition=normal
	@$(SANDBOX)/with.sh squeue

browser: ## install Chromium for the browser test (as root on Debian)
	@scripts/install_browser.sh

slurm: ## get Debian's SLURM for its tests (as root installed, else unpacked in a cache)
	@$(SANDBOX)/up.sh --packages-only || { (( $$? == 4 )) && echo 'slurm: the SLURM tests will be skipped'; }

ssh: ## install OpenSSH and rsync for the tests of SLURM over SSH (as root on Debian)
	@scripts/install_ssh.sh

postgres: ## install PostgreSQL for the test of the production instance (as root on Debian)
	@scripts/install_postgres.sh

test: model browser slurm ssh postgres ## run all tests; ARGS='-k loop' for some
	@$(BIN)/python -m pytest $(ARGS)

chaos: setup slurm ## play the fault matrix on private clusters; ONLY='sbatch', or RANDOM=1 [SEED=… MINUTES=…]
	@$(BIN)/python -m tests.chaos $(if $(ONLY),--only '$(ONLY)') $(if $(RANDOM),--random) $(if $(SEED),--seed '$(SEED)') $(if $(MINUTES),--minutes $(MINUTES))

bench-slurm: setup slurm ## measure the SLURM launcher beside its peers; ARGS='--quick' or '--only sweep'
	@$(BIN)/python -m benchmarks.slurm $(ARGS)

bench-plan: setup ## measure activeuf plan on 10,000 and 100,000 asset partitions; ARGS=--quick
	@$(BIN)/python -m benchmarks.plan $(ARGS)

bench-recovery: setup slurm ## count the jobs of a sweep that is recovered; ARGS='--partitions 100' or --foreground
	@$(BIN)/python -m benchmarks.recovery $(ARGS)

bench-training: setup ## measure our trainings beside a bare TRL script; ARGS='--model DIR --rounds 5'
	@$(BIN)/python -m benchmarks.training $(ARGS)

bench-core: setup ## measure acquisition, the ENN's outer step and the loop's memory; FULL=1 for 60,000 prompts
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.acquisition
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.enn
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.enn --pull
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.loop_memory $(if $(FULL),--prompts 60000)

bench-evaluation: model ## measure four benchmarks in one job beside four lm_eval command lines; ARGS='--rows 24'
	@$(BIN)/python -m benchmarks.evaluation --model '$(MODEL)' $(ARGS)

bench-rewardbench: model ## measure the scoring of a reward model beside a loop in the order of the file; ARGS='--rows 20'
	@$(BIN)/python -m benchmarks.rewardbench --model '$(MODEL)' $(ARGS)

check: setup ## lint, format, types, style budget, code identity
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo 'Some files are not formatted: make format'; exit 1; }
	@$(BIN)/pyright --warnings
	@$(BIN)/python scripts/style_metrics.py $(PYTHON_FILES)
	@$(BIN)/python -m activeuf_core.code_identity check

format: setup ## format the code and put imports in order
	@$(BIN)/ruff check --select I --fix --quiet .
	@$(BIN)/ruff format .

lock: setup ## write requirements.lock anew; UPGRADE=1 takes the newest versions
	@$(BIN)/python scripts/lock.py $(if $(UPGRADE),--upgrade)

clean: ## remove .venv and caches; artifacts in .activeuf stay
	@rm -rf .venv build dist .pytest_cache .ruff_cache *.egg-info
	@find $(PYTHON_FILES) -name __pycache__ -type d -prune -exec rm -rf {} +
