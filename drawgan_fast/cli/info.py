"""``drawgan info``."""

from __future__ import annotations

import json
import platform
from typing import Annotated, Any

import typer


def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print versions, devices and backends, with the reason for each that cannot run here."""
    facts = gather()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, version in facts["versions"].items():
        typer.echo(f"{name:<14}{version}")
    for device in facts["devices"]:
        typer.echo(f"{'device':<14}{device}")
    typer.echo(f"{'CPU core':<14}{_in_words(facts['cpu_core'])}")
    typer.echo(f"{'CUDA core':<14}{_cuda_in_words(facts['cuda_core'])}")
    for name, reason in facts["backends"].items():
        typer.echo(f"{'backend':<14}{name}: {'available' if reason is None else reason}")
    typer.echo(f"{'in use':<14}{facts['backend_in_use']}")


def gather() -> dict[str, Any]:
    """Versions, devices and backends of this machine.

    >>> gather()["backends"]["reference"] is None
    True
    """
    import torch

    from drawgan_fast import __version__
    from drawgan_fast.backends import backends, current_backend

    devices = [f"cpu: {platform.machine()}, {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        devices += [
            f"cuda:{i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())
        ]
    else:
        devices.append(f"cuda: none ({_no_cuda()})")
    return {
        "versions": {
            "drawgan_fast": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "triton": _version("triton"),
            "numpy": _version("numpy"),
        },
        "devices": devices,
        "cpu_core": _cpu_core(),
        "cuda_core": _cuda_core(),
        "backends": backends(),
        "backend_in_use": current_backend(),
    }


def _cpu_core() -> dict[str, Any]:
    from drawgan_fast._native import NativeUnavailable, load_cpu

    try:
        core = load_cpu()
    except NativeUnavailable as error:
        return {"reason": str(error)}
    return {
        "reason": None,
        "isa": core.isa(),
        "supported": core.supported_isas(),
        "compiled": core.compiled_isas(),
        "openmp": core.has_openmp(),
        "kept_bytes": core.pool_info()["kept"],
    }


def _cuda_core() -> dict[str, Any]:
    from drawgan_fast._native import NativeUnavailable, load_cuda

    try:
        return {"reason": None, "emulated": load_cuda().emulated}
    except NativeUnavailable as error:
        return {"reason": str(error)}


def _cuda_in_words(core: dict[str, Any]) -> str:
    if core["reason"] is not None:
        return f"none: {core['reason']}"
    return "emulated on the CPU" if core["emulated"] else "built"


def _in_words(core: dict[str, Any]) -> str:
    if core["reason"] is not None:
        return f"none: {core['reason']}"
    others = [isa for isa in core["supported"] if isa != core["isa"]]
    missing = [isa for isa in core["compiled"] if isa not in core["supported"]]
    return "; ".join(
        [
            f"{core['isa']} in use",
            *([f"{', '.join(others)} can run too"] if others else []),
            *([f"{', '.join(missing)} not on this CPU"] if missing else []),
            "OpenMP" if core["openmp"] else "built without OpenMP, one thread",
            f"{core['kept_bytes'] / 2**20:.1f} MiB of workspace kept",
        ]
    )


def _no_cuda() -> str:
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return "this torch is built for the CPU only"
    return "torch sees no device"


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
