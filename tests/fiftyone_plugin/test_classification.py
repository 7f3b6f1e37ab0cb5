"""Classes on samples."""

from __future__ import annotations

import numpy as np
import pytest

from reelspace.errors import InvalidArgument
from reelspace.models import classify


def test_the_likeliest_classes_are_written_best_first_with_their_names(fo, dataset, operator, videos) -> None:
    outcome = operator("classify_videos")(dataset, "hiera-tiny", "classes", top_k=3)
    assert outcome.result == {"done": 3, "skipped": 0, "failed": 1}
    said = {found[0].source: found[0].top for found in classify(videos[:3], ["hiera-tiny"], top_k=3, device="cpu")}
    for sample in dataset.limit(3):
        assert isinstance(sample["classes"], fo.Classifications)
        top = sample["classes"].classifications
        expected = said[sample.filepath]
        assert [c.label for c in top] == [p.label for p in expected]
        assert all(not label.startswith("LABEL") for label in (c.label for c in top))
        np.testing.assert_allclose([c.confidence for c in top], [p.probability for p in expected], atol=1e-5)
    assert dataset.last()["classes"] is None
    assert "not a media file" in dataset.last()["classes_error"]
    assert operator("classify_videos")(dataset, "hiera-tiny", "classes", skip_computed=True).result["skipped"] == 3


def test_classes_of_a_model_without_any_are_refused(dataset, operator) -> None:
    with pytest.raises(InvalidArgument, match="hiera-tiny-mae has no classes"):
        operator("classify_videos")(dataset, "hiera-tiny-mae")
    with pytest.raises(InvalidArgument, match="at least one class"):
        operator("classify_videos")(dataset, "hiera-tiny", top_k=0)


def test_only_classifiers_are_offered(dataset, form) -> None:
    offered = {c["value"] for c in form("classify_videos", dataset)["encoder"]["view"]["choices"]}
    assert {"hiera-tiny", "i3d-kinetics400"} <= offered
    assert not {"hiera-tiny-mae", "s3d-howto100m"} & offered
