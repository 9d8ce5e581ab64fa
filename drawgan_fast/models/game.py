"""Backward passes of a game: each player its own gradient, and no part of the graph twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


def play(
    player: nn.Module,
    judged: Tensor,  # []
    objectives: Sequence[Tensor],  # [] each
    seen: Sequence[Tensor],
    *,
    opposed: bool,
) -> list[list[Tensor | None]]:
    """One game: add ∂judged/∂parameters to the player's ``.grad``, differentiate the objectives.

    Args:
        player: the discriminator.
        judged: [] what it descends.
        objectives: [] each, what the generator descends through the player.
        seen: leaves, what the player was shown.
        opposed: the first objective is −``judged`` as far as ``seen`` goes, as in minimax. Then
            one backward pass serves both players, its gradient of ``seen`` reversed.

    Returns:
        Per objective, the gradient of each of ``seen``; None for one that needs none.

    >>> player, x = nn.Linear(1, 1, bias=False), torch.ones(1, requires_grad=True)
    >>> score = player(x).sum()
    >>> ((of_x,),) = play(player, score, [-score], [x], opposed=True)
    >>> bool(of_x == -player.weight), player.weight.grad
    (True, tensor([[1.]]))
    """
    wanted = [leaf for leaf in seen if leaf.requires_grad]
    left = list(objectives[1:] if opposed else objectives) if wanted else []
    inputs: list[Tensor] = [p for p in player.parameters() if p.requires_grad]
    if opposed:
        inputs += wanted
    if inputs:
        torch.autograd.backward(judged, inputs=inputs, retain_graph=bool(left))
    if not wanted:
        return [[None] * len(seen) for _ in objectives]

    gradients = []
    if opposed:
        gradients.append([None if leaf.grad is None else -leaf.grad for leaf in seen])
    while left:
        objective = left.pop(0)
        found = iter(
            torch.autograd.grad(objective, wanted, retain_graph=bool(left), materialize_grads=True)
        )
        gradients.append([next(found) if leaf.requires_grad else None for leaf in seen])
    return gradients


def accumulate(
    roots: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    parameters: Iterable[nn.Parameter],
    *,
    last: bool,
) -> None:
    """Walk back from the roots, once, to the ``.grad`` of these parameters and of no other tensor.

    Args:
        roots: losses, or tensors whose gradients are known.
        gradients: of each root; None for a loss.
        parameters: what gets gradients.
        last: no pass will follow, so the graph can go.

    >>> w = nn.Parameter(torch.ones(()))
    >>> accumulate([3 * w, 5 * w], [None, torch.tensor(2.0)], [w], last=True)
    >>> w.grad
    tensor(13.)
    """
    inputs = [p for p in parameters if p.requires_grad]
    pairs = [(root, g) for root, g in zip(roots, gradients) if root.requires_grad]
    if inputs and pairs:
        torch.autograd.backward(
            [root for root, _ in pairs],
            [g for _, g in pairs],
            inputs=inputs,
            retain_graph=not last,
        )
