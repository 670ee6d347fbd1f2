"""Compiles DuckDB, once, for the extension and the server to link: `python scripts/duckdb_library.py 2.0.1 FOLDER`.

The sources are those of the source distribution `duckdb` on PyPI, which pip fetches and checks. FOLDER then holds

- lib/libduckdb_static.a, with core_functions, json and parquet in it;
- lib/libduckdb_static_extension_autoregister.a, which registers these three and which a program links as a whole;
- include/, DuckDB's headers.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

VERSIONS = Path(__file__).resolve().parents[1] / "duckdb-versions.txt"
TOOLS = ("cmake==4.4.5", "ninja==1.13.2")
EXTENSIONS = "core_functions;json;parquet"
# The processors that DuckDB compiles extensions for (x86-64-v2), not the newer ones that it compiles itself for.
DEFINES = {
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_CXX_FLAGS_RELEASE": "-O3 -DNDEBUG -ffunction-sections -fdata-sections",
    "CMAKE_POSITION_INDEPENDENT_CODE": "ON",
    "DUCKDB_OPTIMIZATION_PROFILE": "EXTENSION",
    "BUILD_EXTENSIONS": EXTENSIONS,
    "SKIP_EXTENSIONS": "icu",
    "BUILD_SHELL": "OFF",
    "BUILD_UNITTESTS": "OFF",
    "ENABLE_JEMALLOC": "OFF",
}
REGISTERING = ("duckdb_static_extension_loader.c.o", "static_extension_autoregister.cpp.o")


def run(*command, **options):
    print("+", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True, **options)


def requirement(version):
    """The line of `version` in the list of those that are supported."""
    lines = VERSIONS.read_text().splitlines()
    found = [line for line in lines if line.startswith(f"duckdb=={version} ")]
    if not found:
        sys.exit(f"{VERSIONS.name} does not name DuckDB {version}")
    return found[0]


def fetch_sources(version, folder, python):
    """DuckDB's own tree, unpacked into `folder` with the `pip` of `python`."""
    tree = folder / f"duckdb-{version}"
    if not tree.exists():
        wanted = folder / "requirement.txt"
        wanted.write_text(requirement(version) + "\n")
        run(python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", "duckdb",
            "--require-hashes", "-d", folder, "-r", wanted)  # fmt: skip
        partial = folder / "unpacked"
        shutil.rmtree(partial, ignore_errors=True)
        with tarfile.open(folder / f"duckdb-{version}.tar.gz") as tar:
            tar.extractall(partial, filter="data")
        (partial / tree.name).rename(tree)
    return tree


def merge(archives, whole, program="ar"):
    """Makes one archive out of several."""
    new = whole.with_suffix(".new")
    script = "\n".join([f"CREATE {new}", *(f"ADDLIB {archive}" for archive in archives), "SAVE", "END"])
    subprocess.run([program, "-M"], input=script, text=True, check=True)
    new.rename(whole)


def build(version, folder):
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    python = work / "tools/bin/python"
    if not python.exists():
        run(sys.executable, "-m", "venv", work / "tools")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *TOOLS)
    source = fetch_sources(version, work, python) / "external/duckdb"
    made = work / "build"
    defines = {**DEFINES, "OVERRIDE_GIT_DESCRIBE": f"v{version}", "CMAKE_MAKE_PROGRAM": python.parent / "ninja"}
    run(python.parent / "cmake", "-G", "Ninja", "-S", source, "-B", made, *(f"-D{key}={value}" for key, value in defines.items()))
    run(python.parent / "ninja", "-C", made, "-j", os.cpu_count(), "duckdb")
    library = folder / "lib"
    library.mkdir(exist_ok=True)
    shutil.rmtree(folder / "include", ignore_errors=True)
    shutil.copytree(source / "src/include", folder / "include")
    registering = [next(made.rglob(name)) for name in REGISTERING]
    whole = library / "libduckdb_static_extension_autoregister.a"
    whole.unlink(missing_ok=True)
    run("ar", "rcs", whole, *registering)
    merge(sorted(made.rglob("*.a")), library / "libduckdb_static.a")
    shutil.rmtree(work)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("version")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    build(options.version, options.folder.absolute())


if __name__ == "__main__":
    main()
