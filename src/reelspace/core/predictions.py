"""What a classifier says of a video."""

from __future__ import annotations

from dataclasses import dataclass

from reelspace.core.time import Span

__all__ = ["Classified", "Moment", "Prediction"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class and how likely it is.

    Attributes:
        label: its name.
        index: its column in the logits.
        probability: in [0, 1]; those of all classes add up to 1.
    """

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class Moment:
    """What a classifier says of one window.

    Attributes:
        span: its seconds.
        top: the likeliest classes, best first.
    """

    span: Span
    top: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True)
class Classified:
    """What one classifier says of one video.

    Attributes:
        source: path or URL.
        encoder: name of the model.
        licence: of its weights.
        top: the likeliest classes of the whole video, best first: the mean of the probabilities of all windows.
        moments: window by window.
        clips: how many clips the model read.
        spent_seconds: how long the model took for them, without the decoding that models share.
    """

    source: str
    encoder: str
    licence: str
    top: tuple[Prediction, ...]
    moments: tuple[Moment, ...]
    clips: int
    spent_seconds: float
