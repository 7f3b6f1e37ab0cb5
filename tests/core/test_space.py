from __future__ import annotations

import pytest

from reelspace.core.space import Space
from reelspace.errors import SpaceMismatch


def test_the_order_of_parameters_does_not_change_the_identity() -> None:
    assert Space("pdqf", 256, {"rate": 15, "size": 64}) == Space("pdqf", 256, {"size": 64, "rate": 15})


@pytest.mark.parametrize(
    "other",
    [Space("pdqf2", 256, {"rate": 15}), Space("pdqf", 128, {"rate": 15}), Space("pdqf", 256, {"rate": 5})],
)
def test_name_dimensions_and_parameters_all_count(other: Space) -> None:
    space = Space("pdqf", 256, {"rate": 15})
    with pytest.raises(SpaceMismatch) as caught:
        space.require(other, where="table frames")
    assert str(space) in str(caught.value)
    assert str(other) in str(caught.value)


def test_a_space_survives_its_json() -> None:
    space = Space("pdqf", 256, {"mean": [0.45, 0.45], "decode": "exact"})
    again = Space.from_json(space.to_json())
    assert again.fingerprint == space.fingerprint
    assert again.parameters == space.parameters
    again.require(space, where="anywhere")
