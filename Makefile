# make lab        open the notebooks in JupyterLab (installs into .venv first)
# make test       everything: lint, format, tests, doctests, coverage
# make slides     a deck for each lesson into build/slides, readable without a network
# make student    what students get, without solutions: build/student and a zip
# make assignments  the exercises as nbgrader assignments, each tried on three submissions: build/nbgrader
# make site       the notebooks as web pages in build/site: no kernel, no network; every page is looked at in a browser
# make site-student  the same for students in build/site-student: no solutions, no pages for lecturers
# make notebooks  run every notebook in a fresh kernel and normalise what is saved
# make hub        JupyterHub for a class on this machine: see deploy/README.md
# make mutate     mutation tests of helpers/ (long; not part of make test)
# make lock       newest versions that pyproject.toml allows into .venv, and their list into requirements.lock
# make clean      remove .venv and every cache
#
# make lab PYTHON=python3.13             with another interpreter (after make clean)
# make lab LAB_OPTIONS=--no-browser      further options of `jupyter lab`
# make hub-load HUB_LOAD_OPTIONS='--students 10'    how many students this machine carries: benchmarks/hub_load.py

PYTHON = python3
LAB_OPTIONS =

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { \
	echo 'Python 3.11 to 3.14 is needed. Choose one: make lab PYTHON=/path/to/python3' >&2; exit 1; }
INSTALL = .venv/bin/python -m pip install --disable-pip-version-check
# Jupyter and Matplotlib keep their files here: the home folder stays clean, and a kernel or an extension from there
# cannot stand in for the ones that the tests saw.
INSIDE = IPYTHONDIR="$$PWD/.venv/user/ipython" JUPYTER_CONFIG_DIR="$$PWD/.venv/user/jupyter" \
	JUPYTER_DATA_DIR="$$PWD/.venv/user/data" MPLCONFIGDIR="$$PWD/.venv/user/matplotlib"
# No list of extensions from the network, no search of the machine for language servers.
QUIET = --LabApp.extension_manager=readonly --LanguageServerManager.autodetect=False
# Two workers share the cores; more threads in each would only make them wait for each other. A hundred kernels start:
# what one has compiled the next one finds, also where the environment forbids it to keep that.
TESTING = $(INSIDE) OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

lab: .venv/lab
	$(INSIDE) .venv/bin/python -m jupyterlab $(QUIET) --ServerApp.root_dir="$$PWD" $(LAB_OPTIONS) \
		notebooks/00_start_here.ipynb

test: .venv/test
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	$(TESTING) .venv/bin/python -m pytest --cov -n 2 --dist worksteal

notebooks: .venv/test
	$(TESTING) .venv/bin/python -m tools.notebooks

slides: .venv/teach
	$(TESTING) .venv/bin/python -m tools.teach.slides

student: .venv/teach
	$(TESTING) .venv/bin/python -m tools.teach.student

assignments: .venv/teach
	$(TESTING) .venv/bin/python -m tools.teach.assignments

site: .venv/site
	$(TESTING) .venv/bin/python -m tools.site

site-student: .venv/site student
	$(TESTING) .venv/bin/python -m tools.site --root build/student/movable-derivations --out build/site-student

hub: .venv/hub student
	$(INSIDE) .venv/bin/python -m jupyterhub -f deploy/jupyterhub_config.py

hub-load: .venv/hub student
	$(INSIDE) .venv/bin/python benchmarks/hub_load.py $(HUB_LOAD_OPTIONS)

mutate: .venv/mutate
	$(TESTING) .venv/bin/python -m mutmut run
	.venv/bin/python -m mutmut results

# Installs without a lock: this is where one comes from.
lock:
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) -e '.[test,site,teach,hub,mutate]'
	{ sed '/^#/!d' requirements.lock; \
	.venv/bin/python -m pip list --disable-pip-version-check --format=freeze --exclude-editable \
		--exclude pip --exclude setuptools | sed 's/+.*//'; } > .venv/lock
	mv .venv/lock requirements.lock

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* mutants build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -prune -exec rm -rf {} +

# Each stamp is newer than what it was installed from, so that nothing is installed twice.
# Readers are spared what only tests and lecturers need. Without its announcements JupyterLab asks nobody for news.
.venv/lab: pyproject.toml requirements.lock
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv
	$(INSTALL) -c requirements.lock -e .
	@$(INSIDE) .venv/bin/python -m jupyterlab.labextensions disable @jupyterlab/apputils-extension:announcements
	@touch $@

.venv/teach: .venv/lab
	$(INSTALL) -c requirements.lock -e '.[teach]'
	@touch $@

.venv/test: .venv/lab
	$(INSTALL) -c requirements.lock -e '.[test,site,teach,hub]'
	@touch $@

.venv/site: .venv/lab
	$(INSTALL) -c requirements.lock -e '.[site]'
	@touch $@

# The proxy is a program for Node.js. Matplotlib's list of fonts is made once here instead of by each student's kernel.
.venv/hub: .venv/teach
	$(INSTALL) -c requirements.lock -e '.[teach,hub]'
	npm install --prefix .venv --no-audit --no-fund configurable-http-proxy@5.1.0
	$(INSIDE) .venv/bin/python -c 'import matplotlib.font_manager'
	@touch $@

.venv/mutate: .venv/test
	$(INSTALL) -c requirements.lock -e '.[test,site,teach,hub,mutate]'
	@touch $@

.PHONY: help lab hub hub-load test site site-student slides student assignments notebooks mutate lock clean
