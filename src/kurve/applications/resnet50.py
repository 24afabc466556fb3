"""The same as `kurve.applications.resnet`, for ResNet50."""

from kurve.applications.resnet import ResNet50 as ResNet50
from kurve.applications.resnet import decode_predictions as decode_predictions
from kurve.applications.resnet import preprocess_input as preprocess_input
