"""Tests, ceilings, operators and training steps on one GPU: ``python -m benchmarks.gpu``.

Everything is measured by CUDA events, on a cold cache, after a correctness gate, with the variants
of a group taking turns. Each stage runs in a process of its own, on a time budget; the record is
written after each. docs/gpu.md is what a record says, as a page.
"""
