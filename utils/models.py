"""Models small enough to train while you watch; the lessons take the larger ones from torchvision."""

from torch import nn


class SmallCNN(nn.Module):
    """Two convolutions with batch norm, dropout and a linear layer: 10,266 parameters.

    Args:
        num_classes: the length of the output for each image.
        width: channels after the first convolution; the second doubles it.

    Shapes: images (N, 3, 32, 32) in, logits (N, num_classes) out.
    """

    def __init__(self, num_classes=10, width=16):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(2 * width * 16, num_classes)

    def forward(self, images):
        return self.head(self.dropout(self.features(images).flatten(1)))
