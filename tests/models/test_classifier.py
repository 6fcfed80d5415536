import torch

from tests.support import tiny


def test_weights_digest__the_head_is_left_out_on_request() -> None:
    classifier = tiny("test_efficientnet", size=64)
    whole, backbone = classifier.weights_digest(), classifier.weights_digest(backbone_only=True)
    with torch.no_grad():
        classifier.head.bias.add_(1)
    assert classifier.weights_digest() != whole
    assert classifier.weights_digest(backbone_only=True) == backbone
    for name, tensor in classifier.model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.add_(1)
            break
    assert classifier.weights_digest(backbone_only=True) != backbone
