"""Build entry point: CMake builds the compiled cores; everything static stands in pyproject.toml.

DRAWGAN_NATIVE  the CPU core. Unset: build it if this machine can, else go without and say why;
                1: a failed build is an error; 0: without.
DRAWGAN_CUDA    the CUDA core, the same; unset or auto: build it if there is an nvcc.
DRAWGAN_WERROR, DRAWGAN_SANITIZE, DRAWGAN_CPU_ISAS, DRAWGAN_CUDA_ARCHS  are CMakeLists.txt's own.
"""

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CMAKE_OPTIONS = {
    "DRAWGAN_WERROR": "OFF",
    "DRAWGAN_SANITIZE": "OFF",
    "DRAWGAN_CPU_ISAS": "",
    "DRAWGAN_CUDA_ARCHS": "80;90;100",
}


@dataclass(frozen=True)
class Core:
    """A compiled core: CMake's name for it, and the variable that asks for it."""

    cmake: str
    variable: str


CORES = {
    "_native_cpu": Core("cpu", "DRAWGAN_NATIVE"),
    "_native_cuda": Core("cuda", "DRAWGAN_CUDA"),
}


class CMakeBuild(build_ext):
    """Builds every extension as the CMake target of its name."""

    def finalize_options(self) -> None:
        """Note where the module is wanted; setuptools clears ``inplace`` while it builds."""
        super().finalize_options()
        self.in_source = bool(self.inplace)

    def build_extension(self, ext: Extension) -> None:
        """Leave the module, or the reason that there is none, where the package will look."""
        name = ext.name.rpartition(".")[2]
        module, reason = self.build_or_reason(name)
        built = Path(self.get_ext_fullpath(ext.name))
        places = [built]
        if self.in_source:  # setuptools copies the module there itself, but no reason
            places.append(ROOT.joinpath(*ext.name.split(".")).with_name(built.name))
        for place in places:
            note = place.with_name(f"{name}.reason.txt")
            place.parent.mkdir(parents=True, exist_ok=True)
            if module is None:
                place.unlink(missing_ok=True)  # of an earlier build
                note.write_text(f"{reason}\n", encoding="utf-8")
            else:
                note.unlink(missing_ok=True)
        if module is not None:
            self.copy_file(str(module), str(built))

    def build_or_reason(self, target: str) -> tuple[Path | None, str]:
        """The built module, or None and why not."""
        core = CORES[target]
        wanted = os.environ.get(core.variable) or "auto"
        if wanted not in ("0", "1", "auto"):
            raise ValueError(f"{core.variable} must be 0, 1, auto or unset, got {wanted!r}")
        if wanted == "0":
            return None, f"it was left out at install by {core.variable}=0"
        if core.cmake == "cuda" and wanted == "auto" and nvcc() is None:
            return None, NO_NVCC  # the usual case: not worth a banner
        folder = Path(self.build_temp).resolve()
        if self.editable_mode:  # setuptools would throw its own away, and every object with it
            sanitized = "-sanitize" if option("DRAWGAN_SANITIZE") not in ("0", "OFF") else ""
            folder = ROOT / "build" / f"{sys.implementation.cache_tag}{sanitized}"
        try:
            return build(target, folder.with_name(f"{folder.name}-{core.cmake}")), ""
        except (OSError, BuildError) as error:
            if wanted == "1":
                raise
            reason = f"the build failed: {error}"
        line = "=" * 100
        what = "Pure Python install without" if core.cmake == "cpu" else "Install without"
        print(f"{line}\n{what} {target}: {reason}\n{line}", flush=True)
        return None, reason


NO_NVCC = (
    "no nvcc was found at install, in CUDACXX, on PATH, in CUDA_HOME or CUDA_PATH, or in "
    "/usr/local/cuda"
)


def nvcc() -> Path | None:
    """CUDA's compiler: the CUDACXX that was asked for, or where one is usually found."""
    asked = os.environ.get("CUDACXX")
    places = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [str(Path(place, "bin")) for place in places if place]
    found = (
        shutil.which(asked)
        if asked
        else shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(folders))
    )
    return Path(found) if found else None


class BuildError(Exception):
    """A module could not be built, and why."""


def build(target: str, folder: Path) -> Path:
    """Configure and build one target; the path of the module."""
    core = CORES[target].cmake
    compiler = []
    if core == "cuda":
        found = nvcc()
        if found is None:
            raise BuildError(NO_NVCC)
        compiler = [f"-DCMAKE_CUDA_COMPILER={found}"]
    folder.mkdir(parents=True, exist_ok=True)
    configure = [
        *(tool("cmake"), "-S", ROOT, "-B", folder, "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dpybind11_DIR={pybind11_folder()}",
        f"-DDRAWGAN_CORE={core}",
        *compiler,
        *(f"-D{name}={option(name)}" for name in CMAKE_OPTIONS),
    ]
    with only_one_at_a_time(folder):
        forget_other_settings(folder)
        run(configure)
        run([tool("cmake"), "--build", folder, "--target", target])
        (module,) = (folder / "modules").glob(f"{target}.*")
        return module


def forget_other_settings(folder: Path) -> None:
    """CMake asks for these once and keeps the answers: empty a folder where they were others."""
    names = ("CXX", "CXXFLAGS", "LDFLAGS", "CUDACXX", "CUDAFLAGS", "CUDAHOSTCXX")
    settings = "\n".join([str(ROOT), *(f"{name}={os.environ.get(name, '')}" for name in names)])
    noted = folder / "settings.txt"
    if not noted.exists() or noted.read_text(encoding="utf-8") != settings:
        (folder / "CMakeCache.txt").unlink(missing_ok=True)
        shutil.rmtree(folder / "CMakeFiles", ignore_errors=True)
        noted.write_text(settings, encoding="utf-8")


def option(name: str) -> str:
    """Value of one of CMakeLists.txt's options: the environment's, or off."""
    return os.environ.get(name) or CMAKE_OPTIONS[name]


def tool(name: str) -> str:
    """Path of a program: from PATH, or from an environment that is used without being active."""
    path = shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))
    if path is None:
        raise BuildError(f"{name} is not installed")
    return path


def pybind11_folder() -> str:
    """Folder of pybind11's CMake configuration."""
    try:
        import pybind11
    except ImportError as error:
        raise BuildError(f"pybind11 is not installed in the build environment ({error})") from None
    return pybind11.get_cmake_dir()


def run(command: list[str | Path]) -> None:
    """Run a build step, its output shown as it comes; the error says what went wrong in it."""
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.rstrip())
    if process.wait() != 0:
        raise BuildError(first_error(lines))


def first_error(lines: list[str]) -> str:
    """The first error of a build's output, as one line."""
    for number, line in enumerate(lines):
        if line.startswith("CMake Error"):  # the place, then the message, indented
            following = lines[number + 1 :]
            message = itertools.takewhile(lambda text: not text or text[0] == " ", following)
            return " ".join(" ".join(message).split()) or line
        if re.search(r"\berror\s*:", line):  # ptxas leaves room before the colon
            return line
    return " ".join(filter(None, lines[-3:])) or "no output"


@contextlib.contextmanager
def only_one_at_a_time(folder: Path) -> Iterator[None]:
    """Two installs from one checkout share a build folder; the second waits."""
    with open(folder / ".lock", "w") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        except ImportError:  # not a POSIX system
            pass
        yield


setup(
    packages=[*find_packages(include=["drawgan_fast", "drawgan_fast.*"]), "drawgan_fast.kernels"],
    # Optional: a build that fails leaves no file, and setuptools must not ask for one.
    ext_modules=[Extension(f"drawgan_fast.{name}", sources=[], optional=True) for name in CORES],
    cmdclass={"build_ext": CMakeBuild},
)
