# Two commands, each does all its own set-up: `make demo` captions sample photos, `make test` runs the whole suite.
# Needed: make, and Python 3.11 or newer with its venv module. Everything is installed into .venv.

VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
# Everyday photos among those that scikit-image's wheel carries.
PHOTOS := astronaut.png chelsea.png coffee.png motorcycle_left.png rocket.jpg
# Further arguments of pytest: make test ARGS="-k beam -x"
ARGS :=
# Files of tests go to two processes; ARGS="-n 0" takes one.
PYTEST := -m pytest -n 2 --dist loadfile

.PHONY: demo test lint clean

demo: $(VENV)/.core
	@photos=$$($(VENV)/bin/python -c 'from importlib.util import find_spec as f; \
	print(f("skimage").submodule_search_locations[0] + "/data")') && \
	echo "Photos of $$photos:" && echo && \
	here=$$PWD && cd "$$photos" && "$$here/$(VENV)/bin/showtell" caption --sentence $(PHOTOS)
	@echo
	@echo "Your own photos, files or whole folders:"
	@echo "  $(VENV)/bin/showtell caption PHOTO.jpg FOLDER"

test: $(VENV)/.all
	@$(VENV)/bin/python $(PYTEST) $(ARGS)

lint: $(VENV)/.all
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

clean:
	rm -rf $(VENV)

# A stamp is newer than pyproject.toml when what that file asks for is installed.
$(VENV)/.core: $(VENV)/.made pyproject.toml
	@echo "Installing showtell and scikit-image, whose sample photos are captioned (about a minute)" >&2
	@$(PIP) -e . scikit-image
	@touch $@

# One command for all, so that pip chooses a torch and a torchvision that fit each other.
$(VENV)/.all: $(VENV)/.made pyproject.toml
	@echo "Installing showtell with the extras serve, train and dev: several minutes, on Linux several gigabytes" >&2
	@$(PIP) -e '.[serve,train,dev]'
	@touch $@ $(VENV)/.core

$(VENV)/.made:
	@found=; for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "make: no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	"$$found" -m venv $(VENV) || \
	  { echo "make: $$found cannot make a venv; on Debian and Ubuntu: apt install python3-venv" >&2; \
	    rm -rf $(VENV); exit 1; }
	@touch $@
