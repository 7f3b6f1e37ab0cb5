"""The tensors of I3D under the names, and turned the way, that DeepMind's checkpoints have them."""

from __future__ import annotations

import torch

PLACES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
    "weight": "w",
    "bias": "b",
}
HEAD = {  # any names will do: those of the hub's module are not known
    "fc": "video_module/linear",
    "text_module.fc1": "text/mlp/linear_0",
    "text_module.fc2": "text/mlp/linear_1",
}


def tensorflow_name(key: str, scope: str = "RGB/inception_i3d/") -> str:
    """As kinetics-i3d names what PyTorch calls ``key``, with its slip in Mixed_5b."""
    layer, last = key.rsplit(".", 1)
    if layer in HEAD:
        return f"{HEAD[layer]}/{PLACES[last]}"
    if "word_embd" in key:
        return "text/words"
    unit, kind = layer.rsplit(".", 1)
    unit = unit.replace("logits", "Logits/Conv3d_0c_1x1")
    block, _, branch = unit.partition(".")
    path = f"{scope}{block}/{PLACES[branch]}" if branch else f"{scope}{block}"
    path = path.replace("Mixed_5b/Branch_2/Conv3d_0b_3x3", "Mixed_5b/Branch_2/Conv3d_0a_3x3")
    if kind == "conv3d":
        return f"{path}/conv_3d/{PLACES[last]}"
    renamed = {"running_mean": "moving_mean", "running_var": "moving_variance", "weight": "gamma", "bias": "beta"}
    return f"{path}/batch_norm/{renamed[last]}"


def turned(key: str, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.ndim == 5:
        return tensor.permute(2, 3, 4, 1, 0)
    return tensor.T if tensor.ndim == 2 and "word_embd" not in key else tensor


def variables(network: torch.nn.Module, *, scaled: bool, **how: str) -> dict[str, torch.Tensor]:
    return {
        tensorflow_name(key, **how): turned(key, value)
        for key, value in network.state_dict().items()
        if "num_batches" not in key and (scaled or not key.endswith("bn.weight"))
    }
