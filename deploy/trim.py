"""Make the environment this runs in small and quick to start: `/opt/recollect/bin/python trim.py`.

Removes the tests its packages bring along, then compiles what is left, and the standard library, to bytecode: an
image with a read-only root can write none later, and the official Python images come without. All of it goes to
`PYTHONPYCACHEPREFIX` where that is set. The Dockerfile and `recollect bench footprint` both use it.
"""

import compileall
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode

TESTS = {"test", "tests"}
NOT_IN_LIBRARY = re.compile(r"/(site-packages|test|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data)/")
# Of Pygments, which rich brings along, every start imports the list of its lexers.
NEVER_RUN = re.compile(r"/(testing|f2py|lexers(?!/__init__|/_mapping))/")


def main() -> None:
    """Trim `sys.prefix`, which must be a virtual environment."""
    if sys.prefix == sys.base_prefix:
        raise SystemExit("trim.py changes the environment it runs in, so run it with the Python of a virtual one.")
    packages = Path(sysconfig.get_path("purelib"))
    remove_tests(packages)
    compile_all(packages, NEVER_RUN)
    compile_all(Path(sysconfig.get_path("stdlib")), NOT_IN_LIBRARY)


def remove_tests(packages: Path) -> None:
    """Remove every folder of tests below `packages`."""
    for folder in [path for path in packages.rglob("*") if path.name in TESTS and path.is_dir()]:
        shutil.rmtree(folder)


def compile_all(folder: Path, but: re.Pattern[str]) -> None:
    """Compile everything below `folder` whose path does not match; what is left out is compiled if it ever runs.

    What an image holds never changes, so nothing is gained by comparing sources with their bytecode at each start.
    """
    how = PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(folder, quiet=1, rx=but, workers=0, invalidation_mode=how):
        raise SystemExit(f"Not everything in {folder} could be compiled; the lines above say what.")


if __name__ == "__main__":
    main()
