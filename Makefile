# Every target is a line or two that can be run by hand; README.md shows them without make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# CPU wheels where there is no NVIDIA driver, CUDA wheels (PyPI's default) where there is one.
# Choose by hand: make demo TORCH_INDEX=https://download.pytorch.org/whl/cu126
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu)
# runs side by side in the demo, and test processes; each takes about 1 GB
JOBS ?= 2
INSTALLED := $(VENV)/installed

.PHONY: demo test test-all test-minimum test-reliability test-cluster check browser lint ui bench docs install wheel clean
.PHONY: audit notebooks docker docker-secrets docker-lock docker-check

demo: $(INSTALLED)
	$(BIN)/integrand suite run configs/suite/quickstart.yaml --jobs $(JOBS)
	$(BIN)/integrand compare --experiment quickstart
	@echo
	@echo "Look at the runs:   make ui        (or: $(BIN)/integrand ui)"
	@echo "Look at the figure: compare/quickstart/"

test: $(INSTALLED) browser
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

# with those that take minutes: real kills, dead servers, several processes, compiled fields, the wheel
test-all: $(INSTALLED) browser
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# kills, damage and hostile input by the hundred, docs/reliability.md; INTEGRAND_SEED=… INTEGRAND_KILLS=… change it
test-reliability: $(INSTALLED)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m reliability tests/reliability

# a developer's loop: lint, types, and the tests of what differs from main (BASE=… for another commit)
BASE ?= main

check: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow" $$($(BIN)/python tests/changed.py $(BASE))

# docs/scaling.md: engines, servers and several machines for real; as root, since it installs and removes SLURM
test-cluster: $(VENV)/installed-cluster
	trap 'tests/cluster/packages.sh remove' EXIT; \
	tests/cluster/packages.sh install && INTEGRAND_REQUIRE_CLUSTER=1 $(BIN)/python -m pytest -m cluster -n $(JOBS) --dist loadfile

# Reports are tested in Debian's Chromium; without one these tests are skipped, so this never fails.
browser:
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then true; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null \
			|| echo "Chromium could not be installed; the browser tests will be skipped"; \
	else echo "no Chromium, the browser tests will be skipped; as root: apt-get install chromium"; fi

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tests/audit.py

# with it the last step of lint also asks for known weaknesses, where there is a network
audit: $(VENV)/installed-audit
	$(BIN)/python tests/audit.py

ui: $(INSTALLED)
	$(BIN)/integrand ui

bench: $(INSTALLED)
	$(BIN)/integrand bench solvers --quick
	$(BIN)/integrand bench tracking

# docs/docker.md; make docker FLAVOUR=cpu
FLAVOUR ?= cuda

docker:
	docker/build.sh $(FLAVOUR)
	docker/build.sh tracking

# after a change of pyproject.toml's dependencies or of constraints.txt
docker-lock: $(VENV)/installed-audit
	$(BIN)/python docker/lock.py

docker-secrets:
	docker/make-secrets.sh

# builds, lints and really runs it all: a quarter of an hour, needs docker and compose
docker-check:
	JOBS=$(JOBS) docker/check.sh

install: $(INSTALLED)

# torch first and by exact version: a range, or another package asking first, may bring gigabytes of CUDA
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --retries 1 torch==2.13.0 $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	$(BIN)/pip install -e '.[test]' -c constraints.txt
	touch $@

$(VENV)/installed-audit: $(INSTALLED)
	$(BIN)/pip install -e '.[test,audit]' -c constraints.txt
	touch $@

$(VENV)/installed-cluster: $(INSTALLED)
	$(BIN)/pip install -e '.[test,cluster]' -c constraints.txt
	touch $@

# the site in build/site; every link is checked
docs: notebooks
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# the tutorials, executed: minutes, once for each page as it is; again after make clean
notebooks: $(patsubst docs/tutorials/%.md,build/notebooks/%.ipynb,$(wildcard docs/tutorials/*.md))

build/notebooks/%.ipynb: docs/tutorials/%.md docs/notebooks.py | $(VENV)/installed-docs
	OMP_NUM_THREADS=1 $(BIN)/python docs/notebooks.py $< $@

$(VENV)/installed-docs: $(INSTALLED)
	$(BIN)/pip install -e '.[test,docs]' -c constraints.txt
	touch $@

# the oldest versions that pyproject.toml allows, in an environment of their own
test-minimum:
	$(PYTHON) -m venv $(VENV)-minimum
	$(PYTHON) tests/minimum.py > $(VENV)-minimum/floors.txt
	$(VENV)-minimum/bin/pip install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e '.[test]' -c $(VENV)-minimum/floors.txt
	$(VENV)-minimum/bin/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

wheel: $(INSTALLED)
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf $(VENV) $(VENV)-minimum build dist platform/*.egg-info
