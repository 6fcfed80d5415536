import pytest

from distill.config import TESTED
from models.building import count_weights
from models.skeleton import skeleton


@pytest.mark.parametrize(("name", "millions"), TESTED.items())
def test_tested__weights_are_those_of_timm(name: str, millions: float) -> None:
    model = skeleton(name, 4, 224)
    assert model is not None
    assert millions == round(count_weights(model) / 1e6, 1)
