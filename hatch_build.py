"""Compiles serving/engine/walk.c when the project is installed; without it the gateway serves pipelines, not plans."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENGINE = Path("serving/engine")
LIBRARY = {"win32": "walk.dll", "darwin": "libwalk.dylib"}.get(sys.platform, "libwalk.so")
FLAGS = ["-O3", "-ffp-contract=off", "-fvisibility=hidden", "-shared"] + ["-fPIC"] * (sys.platform != "win32")
ZIG = "ziglang==0.17.0"
"""A C compiler from PyPI, for machines without one."""
ZIG_COMMAND = [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]
"""Its default is the machine's own processor; a wheel is for all of them."""
TRIAL = '#include <math.h>\n__attribute__((visibility("default"))) double trial(double x) { return exp(x); }\n'


class KernelHook(BuildHookInterface[Any]):
    """Puts the library beside its source, where an editable install finds it, and into the wheel."""

    def dependencies(self) -> list[str]:
        """What the build needs beside hatchling."""
        return [] if own_compiler() else [ZIG]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; a failure is told, and leaves an installation without plans."""
        library = Path(self.root) / ENGINE / LIBRARY
        why = compile_library(own_compiler() or ZIG_COMMAND, library.with_name("walk.c"), library)
        if why:
            library.unlink(missing_ok=True)
            self.app.display_warning(
                f"serving/engine/walk.c could not be compiled: {why}\nThe gateway works without it, more slowly: it "
                "serves every model by micro-batching its pipeline. Install a C compiler, then run "
                "`uv sync --reinstall-package evergreen -v`."
            )
        elif version != "editable":
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"][str(library)] = str(ENGINE / LIBRARY)

    def clean(self, versions: list[str]) -> None:  # noqa: ARG002 - hatchling's signature
        """Forget the library."""
        (Path(self.root) / ENGINE / LIBRARY).unlink(missing_ok=True)


def own_compiler() -> list[str] | None:
    """The command of the first compiler of this machine that makes a library."""
    for command in (shlex.split(os.environ.get("CC", "")), ["cc"], ["gcc"], ["clang"]):
        if command and shutil.which(command[0]) and makes_a_library(command):
            return command
    return None


def makes_a_library(command: list[str]) -> bool:
    """Whether a compiler has what it needs beside itself: headers and a linker."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "trial.c"
        source.write_text(TRIAL)
        return compile_library(command, source, source.with_suffix(".so")) is None


def compile_library(command: list[str], source: Path, library: Path) -> str | None:
    """Put the compiled library there in one step, for a running gateway may have the old one open; or say why not."""
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".compiling-") as folder:
        made = Path(folder) / library.name
        caches = {f"ZIG_{which}_CACHE_DIR": f"{folder}/zig" for which in ("GLOBAL", "LOCAL")}
        try:
            ended = subprocess.run(
                [*command, *FLAGS, str(source), "-o", str(made), "-lm"],
                env={**os.environ, **caches},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=300,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if ended.returncode:
            return ended.stderr.strip()[-2000:] or f"the compiler ended with {ended.returncode}"
        made.replace(library)
    return None
