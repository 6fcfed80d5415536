import torch
from timm.layers import DropPath
from torch import nn

from fitting.stochastic_depth import DropPathOfBatch, draw_for_batches


def layers() -> list[DropPathOfBatch]:
    model = nn.Sequential(nn.Linear(2, 2), DropPath(0.5), nn.Sequential(DropPath(0.5)))
    found = draw_for_batches(model)
    assert draw_for_batches(model) == found, "once is enough"
    assert all(module in found for module in model.modules() if isinstance(module, DropPath))
    return found


def test_drop_path__draws_for_the_whole_batch_by_seed_and_layer() -> None:
    first, second = layers()
    images = torch.ones(64, 3, 2)
    torch.manual_seed(7)
    for layer in (first, second):
        layer.part = 0, 64
    whole = first(images)
    assert set(whole.unique().tolist()) == {0.0, 2.0}
    assert 16 < (whole[:, 0, 0] > 0).sum() < 48
    assert torch.equal(first(images), whole), "computed again"
    assert not torch.equal(second(images), whole)
    first.part = 20, 64
    assert torch.equal(first(images[20:50]), whole[20:50])
    torch.manual_seed(8)
    assert not torch.equal(first(images[20:50]), whole[20:50])


def test_drop_path__is_timms_outside_of_a_fit_and_nothing_in_eval_mode() -> None:
    layer, _ = layers()
    images = torch.ones(32, 3)
    torch.manual_seed(1)
    dropped = layer(images)
    torch.manual_seed(1)
    assert torch.equal(dropped, DropPath(0.5)(images))
    layer.part = 0, 32
    assert torch.equal(layer.eval()(images), images)
