"""The two small networks of the demo, in PyTorch: a grid detector in the manner of DetectNet_v2, and a classifier."""

from __future__ import annotations

import torch
from torch import nn

STRIDE = 8
BOX_SCALE = 35.0  # DetectNet_v2's: box edges are learned in this many pixels


def conv_bn_relu(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3×3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Basic residual block of ResNet: two 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_bn_relu(inputs, outputs, stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Identity() if same else shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.second(self.first(x)) + self.shortcut(x))


class Detector(nn.Module):
    """Coverage and box edges for every 8×8 cell; fully convolutional.

    Input: RGB 0..1, (N, 3, H, W), H and W multiples of 16. Outputs: coverage (N, classes, H/8, W/8) in 0..1; boxes
    (N, 4, H/8, W/8): distances from the cell's centre to the left, top, right and bottom edge, in units of `BOX_SCALE`
    pixels.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = conv_bn_relu(3, 12, stride=2)
        self.block1 = Residual(12, 16, stride=2)
        self.block2 = nn.Sequential(Residual(16, 32, stride=2), Residual(32, 32))
        self.block3 = Residual(32, 48, stride=2)
        self.up = nn.Sequential(nn.ConvTranspose2d(48, 32, 2, 2), nn.ReLU(inplace=True))
        self.join = conv_bn_relu(32, 32)
        self.cov = nn.Conv2d(32, classes, 1)
        self.bbox = nn.Conv2d(32, 4, 1)
        nn.init.constant_(self.cov.bias, -4.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.block2(self.block1(self.stem(x)))
        joined = self.join(fine + self.up(self.block3(fine)))
        return torch.sigmoid(self.cov(joined)), self.bbox(joined)


class Classifier(nn.Module):
    """Class probabilities (N, classes) of a picture (N, 3, 64, 64), normalised as in TAO's mode ``torch``."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = conv_bn_relu(3, 16, stride=2)
        self.block1 = Residual(16, 24, stride=2)
        self.block2 = Residual(24, 40, stride=2)
        self.predictions = nn.Linear(40, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.block2(self.block1(self.stem(x))).mean(dim=(2, 3), keepdim=True).flatten(1)
        return torch.softmax(self.predictions(features), dim=1)
