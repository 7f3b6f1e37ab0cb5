"""The net against transformers' own, which is another code of the same layout."""

from __future__ import annotations

import re

import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from reelspace.encoders.resnet import RESNET34, RESNET50, BasicBlock, Bottleneck, ResNet, fold_batch_norms

KINDS = {"basic": (BasicBlock, 1), "bottleneck": (Bottleneck, 4)}


def of_torchvision(name: str) -> str:
    """A name of transformers' ResNet -> torchvision's."""
    name = name.replace("embedder.embedder.convolution", "conv1").replace("embedder.embedder.normalization", "bn1")
    name = re.sub(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.", lambda at: f"layer{int(at[1]) + 1}.{at[2]}.", name)
    name = name.replace("shortcut.convolution", "downsample.0").replace("shortcut.normalization", "downsample.1")
    name = re.sub(r"layer\.(\d)\.convolution", lambda at: f"conv{int(at[1]) + 1}", name)
    return re.sub(r"layer\.(\d)\.normalization", lambda at: f"bn{int(at[1]) + 1}", name)


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> tuple[ResNetModel, ResNet]:
    """transformers' ResNet-34 or 50 with seeded weights and statistics, and ours with the same tensors."""
    block, expansion = KINDS[request.param]
    torch.manual_seed(0)
    sizes = [64 * expansion << stage for stage in range(4)]
    theirs = ResNetModel(ResNetConfig(layer_type=request.param, depths=[3, 4, 6, 3], hidden_sizes=sizes)).eval()
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.0)
                module.bias.normal_(0, 0.1)
    ours = ResNet(block, RESNET34).eval()
    tensors = {of_torchvision(name): value for name, value in theirs.state_dict().items()}
    tensors |= {name: value for name, value in ours.state_dict().items() if name.startswith("fc.")}
    ours.load_state_dict(tensors)
    return theirs, ours


def test_maps_are_those_of_transformers_resnet(pair: tuple[ResNetModel, ResNet]) -> None:
    theirs, ours = pair
    pixels = torch.randn(2, 3, 82, 146)
    with torch.inference_mode():
        expected = theirs(pixels).last_hidden_state
        plain = ours(pixels)
        fold_batch_norms(ours)
        folded = ours.to(memory_format=torch.channels_last)(pixels.contiguous(memory_format=torch.channels_last))
    largest = expected.abs().max()
    assert expected.shape == (2, ours.fc.in_features, 3, 5)
    assert (plain - expected).abs().max() <= 1e-5 * largest
    assert (folded - expected).abs().max() <= 1e-5 * largest


@pytest.mark.parametrize(
    ("block", "parameters", "tensors"), [(BasicBlock, 21_797_672, 182), (Bottleneck, 25_557_032, 267)]
)
def test_nets_have_the_tensors_of_torchvision_s(block: type, parameters: int, tensors: int) -> None:
    with torch.device("meta"):
        net = ResNet(block, RESNET50)
    names = [name for name in net.state_dict() if not name.endswith("num_batches_tracked")]
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert len(names) == tensors
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    wide = 4 if block is Bottleneck else 1
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer2.0.downsample.0.weight"] == (128 * wide, 64 * wide, 1, 1)
    assert shapes["layer4.2.bn2.running_var"] == (512,)
    assert shapes["fc.weight"] == (1000, 512 * wide)
    assert ("layer1.0.downsample.0.weight" in shapes) == (block is Bottleneck)


def test_no_batch_norm_is_left_after_folding() -> None:
    net = ResNet(Bottleneck, (1, 1, 1, 1), width=4)
    fold_batch_norms(net.eval())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
