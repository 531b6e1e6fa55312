#!/bin/sh
# Report, by name, what pip cannot install: a C++ compiler, make, perl, and Python itself.
missing=0

need() {  # command, what it is, package
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "error: $2 is missing: install the package $3 (Debian/Ubuntu: apt-get install $3)" >&2
        missing=1
    fi
}

PYTHON=${PYTHON:-python3}
need "$PYTHON" "Python 3.11 or newer" python3
need "${CXX:-c++}" "a C++ compiler (${CXX:-c++})" g++
need "${CC:-cc}" "a C compiler (${CC:-cc})" gcc
need make "make" make
need perl "perl" perl

if command -v "$PYTHON" >/dev/null 2>&1; then
    "$PYTHON" - <<'END' || missing=1
import importlib.util
import os
import sys
import sysconfig

ok = True
if sys.version_info < (3, 11):
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"error: Python 3.11 or newer is needed, this is {version}: install the package "
          f"python3.11, or name another with 'make PYTHON=...'", file=sys.stderr)
    ok = False
if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
    print("error: Python's venv module is missing: install the package python3-venv",
          file=sys.stderr)
    ok = False
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("error: Python's C headers are missing: install the package python3-dev",
          file=sys.stderr)
    ok = False
sys.exit(not ok)
END
fi
exit $missing
