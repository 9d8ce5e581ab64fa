"""Whether a layer's weights say all that it does, so that an operator may stand in for it."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from drawgan_fast.nn.lstm_cell import LSTMCell

_KINDS = (nn.Linear, LSTMCell, nn.LSTMCell)
# Pre-hooks that look at the layer alone and give it its weight.
_WEIGHT_HOOKS = (BasePruningMethod, SpectralNorm, WeightNorm)


def not_plain(layer: nn.Module) -> str | None:
    """Why an operator on the layer's weights would not do what calling the layer does.

    Returns:
        None for ``nn.Linear``, ``nn.LSTMCell`` and our own with biases and no hooks but those that
        compute weights (``torch.nn.utils.prune``, the older ``weight_norm`` and ``spectral_norm``):
        they must have run before the weights are read, see :func:`compute_weights`. A
        parametrization computes a weight whenever it is read, so it changes nothing.

    >>> not_plain(nn.Linear(2, 3)), not_plain(nn.Linear(2, 3, bias=False))
    (None, 'has no bias')
    >>> layer = nn.Linear(2, 3)
    >>> _ = layer.register_forward_hook(lambda *_: None)
    >>> not_plain(layer)
    'has hooks'
    """
    kind = type(layer)
    if kind not in _KINDS:  # those that look like them: a parametrization makes a class of its own
        forward = getattr(kind, "forward", None)
        known = any(forward is other.forward for other in _KINDS)
        if not known or kind.__call__ is not nn.Module.__call__:
            return f"is a {kind.__name__}"
    if "forward" in layer.__dict__:
        return "has a forward of its own"
    if layer._forward_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        return "has hooks"
    if layer._forward_pre_hooks:
        for hook in layer._forward_pre_hooks.values():
            if not isinstance(hook, _WEIGHT_HOOKS):
                return "has hooks"
    parameters = layer._parameters
    if parameters.get("bias", layer) is None or parameters.get("bias_ih", layer) is None:
        return "has no bias"
    return None


def hooked_everywhere() -> bool:
    """Whether a hook is registered for all modules (``register_module_forward_hook`` ...)."""
    return bool(
        torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
    )


def compute_weights(layer: nn.Module) -> None:
    """Run the hooks that compute the layer's weights, as calling it would.

    >>> from torch.nn.utils import prune
    >>> layer = nn.Linear(2, 2)
    >>> _ = prune.l1_unstructured(layer, "weight", 1)
    >>> _ = nn.init.constant_(layer.weight_orig, 3.0)
    >>> compute_weights(layer)
    >>> sorted(layer.weight.flatten().tolist())
    [0.0, 3.0, 3.0, 3.0]
    """
    for hook in layer._forward_pre_hooks.values():
        hook(layer, ())
