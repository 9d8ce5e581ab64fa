"""A call captured in a CUDA graph."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.variants.base import Unavailable

WARM = 3  # calls before the capture: kernels compiled, handles and workspaces made


def check(device: str) -> None:
    """Raise Unavailable where there are no CUDA graphs."""
    if torch.device(device).type != "cuda":
        raise Unavailable(f"no CUDA graphs on {device}")


class Graphed:
    """Replays ``call``, whose tensors must not change place.

    Args:
        call: waits for nothing and reads nothing back from the device.
        device: where it runs.
        warm: calls before the capture.

    Raises:
        Unavailable: the device knows no CUDA graphs.
    """

    def __init__(self, call: Callable[[], Any], device: str, warm: int = WARM) -> None:
        check(device)
        self.call = call  # kept: what it holds must live as long as the graph
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(warm):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        gc.collect()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            #: What the captured call returned: tensors that each replay writes anew.
            self.result = call()

    def __call__(self) -> Any:
        """One replay."""
        self.graph.replay()
        return self.result
