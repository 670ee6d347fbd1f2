"""Builds DuckDB, its Python package and the extension with AddressSanitizer, UndefinedBehaviorSanitizer and DuckDB's own
assertions, and runs tests with them: `python scripts/sanitize.py`, by `make sanitize`.

DuckDB comes from its source distribution on PyPI, whose build makes both the Python package, which hosts the nodes, and the
library that the extension links. Needs clang of the LLVM that rustc brings (CLANG names another one) and some hours on two
cores; what is built stays in <target>/sanitize. Every report of a sanitizer is a failure, even when all tests pass.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from duckdb_library import fetch_sources, merge, run

ROOT = Path(__file__).resolve().parents[1]
VERSION = os.environ["QUACK_DUCKDB_VERSION"]
TARGET = "x86_64-unknown-linux-gnu"
CLANG = os.environ.get("CLANG", "22")
BUILD_TOOLS = ("scikit-build-core", "nanobind>=3.0", "cmake>=3.29", "ninja")
# Left out: calls through pointers of other types, and addresses that are not aligned, are how DuckDB is written.
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize=function,vptr,alignment -fsanitize-recover=undefined"
COMPILE = f"{SANITIZERS} -shared-libasan -fno-omit-frame-pointer -gline-tables-only -DDUCKDB_FORCE_ASSERT -Wno-everything"
ASAN_OPTIONS = "detect_leaks=0:detect_odr_violation=0:alloc_dealloc_mismatch=0:handle_segv=1:abort_on_error=0"
# What runs by default, beside the tests of processes that concern the host: words after `xtask test`, and seeds of random SQL.
STAGES = ("sql", "differential")
SEEDS = 30
HOST_TESTS = ROOT / "sql-tests/process/host-tests.txt"


def read(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Sanitized:
    """What is built, in a folder that stays."""

    def __init__(self, folder):
        self.folder = folder
        self.python = folder / "venv/bin/python"
        self.source = folder / f"duckdb-{VERSION}"
        self.built = folder / "duckdb"
        self.library = folder / "lib"
        self.extension = folder / "quack.duckdb_extension"
        self.host = folder / "python"
        self.reports = folder / "reports"

    def build(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.make_python()
        self.make_duckdb()
        self.make_extension()
        self.make_host()

    def make_python(self):
        if not self.python.exists():
            run(sys.executable, "-m", "venv", self.folder / "venv")
        wanted = (ROOT / "sql-tests/python/requirements.txt").read_text().splitlines()
        wanted = [line for line in wanted if line and not line.startswith(("#", "duckdb=="))]
        run(self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *BUILD_TOOLS, *wanted)

    def make_duckdb(self):
        if (self.library / "libduckdb_static.a").exists():
            return
        fetch_sources(VERSION, self.folder, self.python)
        flags = f"{COMPILE} -O1"
        link = f"-shared-libasan -fuse-ld=lld-{CLANG}"
        environment = {
            **os.environ,
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "CC": f"clang-{CLANG}", "CXX": f"clang++-{CLANG}",
            "CFLAGS": flags, "CXXFLAGS": flags, "LDFLAGS": link,
        }  # fmt: skip
        define = [
            "cmake.build-type=RelWithDebInfo", f"build-dir={self.built}", "install.strip=false",
            "cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO=-DNDEBUG", "cmake.define.CMAKE_C_FLAGS_RELWITHDEBINFO=-DNDEBUG",
            f"cmake.define.CMAKE_SHARED_LINKER_FLAGS={link}", f"cmake.define.CMAKE_MODULE_LINKER_FLAGS={link}",
            # Its arenas are opaque to AddressSanitizer.
            "cmake.define.ENABLE_JEMALLOC=OFF",
        ]  # fmt: skip
        options = [word for text in define for word in ("-C", text)]
        wheels = self.folder / "wheel"
        shutil.rmtree(wheels, ignore_errors=True)
        run(self.python, "-m", "pip", "wheel", self.source, "--no-build-isolation", "--no-deps", "-w", wheels, *options,
            env=environment)  # fmt: skip
        run(self.python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", *wheels.glob("duckdb-*.whl"))
        self.library.mkdir(exist_ok=True)
        merge(sorted((self.built / "duckdb").rglob("*.a")), self.library / "libduckdb_static.a", f"llvm-ar-{CLANG}")

    def make_extension(self):
        target = self.folder / "target"
        environment = {
            **os.environ,
            "CC": f"clang-{CLANG}", "CXX": f"clang++-{CLANG}",
            f"CXXFLAGS_{TARGET.replace('-', '_')}": COMPILE, f"CFLAGS_{TARGET.replace('-', '_')}": COMPILE,
            "RUSTC_BOOTSTRAP": "1",
            "RUSTFLAGS": f"-Zsanitizer=address -Zexternal-clangrt -Clinker=clang-{CLANG} -Clink-arg=-shared-libasan",
            "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1", "CARGO_PROFILE_RELEASE_STRIP": "none",
            "CARGO_TARGET_DIR": str(target),
            "DUCKDB_LIB_DIR": str(self.library), "DUCKDB_STATIC": "1",
            "DUCKDB_INCLUDE_DIR": str(self.source / "external/duckdb/src/include"),
        }  # fmt: skip
        run("cargo", "build", "--quiet", "--release", "--target", TARGET, "-p", "quack", "--no-default-features",
            env=environment, cwd=ROOT)  # fmt: skip
        built = target / TARGET / "release/libquack.so"
        run("cargo", "run", "--quiet", "-p", "xtask", "--", "loadable", built, self.extension, cwd=ROOT)

    def make_host(self):
        runtime = read(f"clang-{CLANG}", "-print-file-name=libclang_rt.asan-x86_64.so")
        if not Path(runtime).is_absolute():
            runtime = read(f"clang-{CLANG}", "-print-file-name=libclang_rt.asan.so")
        self.host.write_text(
            "#!/bin/sh\n"
            f"export LD_PRELOAD={runtime}\n"
            f"export ASAN_OPTIONS={ASAN_OPTIONS}:log_path={self.reports}/asan\n"
            f"export UBSAN_OPTIONS=print_stacktrace=1:log_path={self.reports}/ubsan\n"
            f"exec {self.python} \"$@\"\n"
        )
        self.host.chmod(0o755)

    def require_reports(self):
        """A program that writes behind a buffer is reported, or all that follows would prove nothing."""
        shutil.rmtree(self.reports, ignore_errors=True)
        self.reports.mkdir()
        code = "import ctypes; ctypes.memset(ctypes.create_string_buffer(4096), 0, 9000)"
        subprocess.run([self.host, "-c", code], env={**os.environ, "PYTHONMALLOC": "malloc"}, check=False)
        if not any("heap-buffer-overflow" in report.read_text(errors="replace") for report in self.reports.iterdir()):
            sys.exit(f"{self.host} does not report a write behind a buffer")

    def test(self, stages, seeds, tests):
        """Runs all of it, also when a part has failed; whether nothing has."""
        shutil.rmtree(self.reports, ignore_errors=True)
        self.reports.mkdir()
        environment = {
            **os.environ,
            "QUACK_PYTHON": str(self.host), "QUACK_EXTENSION": str(self.extension),
            "QUACK_CTL": str(ROOT / "dist/bin/quackctl"),
        }  # fmt: skip
        python = {**environment, "PYTHONPATH": str(ROOT / "sql-tests/python")}
        commands = []
        if stages:
            commands.append((["cargo", "run", "--quiet", "-p", "xtask", "--", "test", *stages], environment))
        if seeds:
            fuzz = ["-m", "quack_testing.fuzz.main", "--keep-going", "--no-shrink", "--seeds", str(seeds)]
            commands.append(([os.environ["QUACK_PYTHON"], *fuzz], python))
        if tests:
            pytest = ["-m", "pytest", "-q", "-n", "2", *(str(ROOT / "sql-tests/process" / name) for name in tests)]
            commands.append(([os.environ["QUACK_PYTHON"], *pytest], python))
        passed = True
        for command, variables in commands:
            print("+", *command, flush=True)
            passed &= subprocess.run(command, env=variables, cwd=ROOT).returncode == 0
        return passed

    def print_reports(self):
        reports = sorted(self.reports.iterdir())
        for report in reports[:20]:
            print(f"== {report}\n{report.read_text(errors='replace')[:4000]}")
        print(f"{len(reports)} reports of sanitizers")
        return len(reports)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="*", default=STAGES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--tests", nargs="*", default=HOST_TESTS.read_text().split())
    parser.add_argument("--build-only", action="store_true")
    arguments = parser.parse_args()
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    sanitized = Sanitized(ROOT / target / "sanitize")
    sanitized.build()
    if arguments.build_only:
        return 0
    sanitized.require_reports()
    passed = sanitized.test(arguments.stages, arguments.seeds, arguments.tests)
    return 1 if sanitized.print_reports() or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
