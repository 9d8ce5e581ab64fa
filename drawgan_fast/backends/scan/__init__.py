"""The recurrence on a GPU, as far as its tiers agree: what a call keeps, and what surrounds steps.

A tier brings :class:`~drawgan_fast.backends.scan.forward.Steps` that run forward and backward;
segments, running forward again, traces and weight gradients are the same for all of them.
"""
