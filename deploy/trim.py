"""Make the environment this runs in small and quick to start: `/opt/recollect/bin/python trim.py`.

Removes what only testing and installing need from its packages, then compiles what is left, and the standard library,
to bytecode: an image with a read-only root can write none later, and the official Python images come without.
With `PYTHONPYCACHEPREFIX` all of it goes to that folder. The Dockerfile and `recollect bench footprint` both use it.
"""

import compileall
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode

TESTS = {"test", "tests"}
INSTALLERS = re.compile(r"(pip|setuptools|wheel|_distutils_hack|pkg_resources)(-.*\.dist-info)?")
NOT_IN_LIBRARY = re.compile(r"/(site-packages|test|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data)/")
NEVER_RUN = re.compile(r"/(testing|f2py|lexers)/")


def main() -> None:
    """Trim `sys.prefix`, which must be a virtual environment."""
    if sys.prefix == sys.base_prefix:
        raise SystemExit("trim.py changes the environment it runs in, so run it with the Python of a virtual one.")
    packages = Path(sysconfig.get_path("purelib"))
    for folder in [path for path in packages.glob("**/*") if path.name in TESTS and path.is_dir()]:
        shutil.rmtree(folder)
    for package in packages.iterdir():
        if INSTALLERS.fullmatch(package.name):
            shutil.rmtree(package)
    # What the image holds never changes, so nothing is gained by comparing sources with their bytecode at each start.
    how = {"quiet": 1, "workers": 0, "invalidation_mode": PycInvalidationMode.UNCHECKED_HASH}
    compiled = compileall.compile_dir(packages, rx=NEVER_RUN, **how)
    compiled &= compileall.compile_dir(sysconfig.get_path("stdlib"), rx=NOT_IN_LIBRARY, **how)
    if not compiled:
        raise SystemExit("Not everything could be compiled; the lines above say what.")


if __name__ == "__main__":
    main()
