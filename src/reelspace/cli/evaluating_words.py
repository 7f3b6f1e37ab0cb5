"""The words of `reelspace evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evaluating"]

evaluating = typer.Typer(
    help="The datasets of the field: the rows of the published tables, ours beside them.", no_args_is_help=True
)

Root = Annotated[
    Path, typer.Option(help="Folder of the dataset, laid out as videoalignment's: annotations, features, videos/.")
]
Features = Annotated[
    Path | None,
    typer.Option(
        show_default="ROOT/rmac_resnet34_29, or ROOT/ENCODER",
        help="Folder of frame features, a .pkl or .npz per video.",
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        "-e",
        metavar="NAME",
        help="Make features that are missing from ROOT/videos: reelprint, pdqf, or a model of pictures.",
    ),
]
Methods = Annotated[
    list[str],
    typer.Option("--method", "-m", metavar="NAME", help="tmk, tmk-poullot, cte, sum, lamv, or all; repeatable."),
]
Norm = Annotated[
    str | None, typer.Option(show_default="the method's own", help="feat, freq, feat_freq or matrix, of a kernel.")
]
Harmonics = Annotated[int | None, typer.Option(min=1, show_default="the method's own", help="Frequencies kept.")]
Periods = Annotated[
    list[int] | None,
    typer.Option("--period", min=1, show_default="the method's own", help="In frames of 1/15 s; repeatable."),
]
Kernel = Annotated[
    Path | None, typer.Option(help="A kernel learned by `reelspace train kernel`, for the method lamv.")
]
AsPublished = Annotated[
    bool, typer.Option("--as-published", help="With the faults of videoalignment, to compare with its numbers.")
]
LongestOffset = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="FRAMES",
        show_default="the dataset's own",
        help="As published, so many frames are tried in both directions.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write report.json, report.md and charts into this folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Fold = Annotated[int | None, typer.Option(min=0, max=4, help="Only the validation side of this fold of five.")]


@evaluating.command()
def evve(
    *,
    root: Root,
    features: Features = None,
    encoder: Encoder = None,
    methods: Methods = ["tmk"],  # noqa: B006 # typer reads it, nobody writes it
    norm: Norm = None,
    harmonics: Harmonics = None,
    periods: Periods = None,
    kernel: Kernel = None,
    expansion: Annotated[
        str | None,
        typer.Option(
            "--query-expansion",
            help="Ask again with what was found: aqe (average), don (less what everything looks like).",
        ),
    ] = None,
    added: Annotated[
        int | None, typer.Option("--n1", min=1, show_default="10", help="How many of the best are added.")
    ] = None,
    subtracted: Annotated[
        int | None,
        typer.Option("--n2", min=0, show_default="2000 of don", help="The mean of how many is subtracted."),
    ] = None,
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Add only the half that agrees best in time.")
    ] = False,
    as_published: AsPublished = False,
    longest_offset: LongestOffset = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """EVVE, event retrieval: mean average precision, per event and over all queries."""
    from reelspace.cli import evaluating as words

    words.run(
        "evve",
        root=root,
        features=features,
        encoder=encoder,
        methods=methods,
        norm=norm,
        harmonics=harmonics,
        periods=periods or (),
        kernel=kernel,
        expansion=expansion,
        added=added,
        subtracted=subtracted,
        consistent=consistent,
        as_published=as_published,
        longest_offset=longest_offset,
        output=output,
        as_json=as_json,
    )


@evaluating.command()
def climbing(
    *,
    root: Root,
    features: Features = None,
    encoder: Encoder = None,
    methods: Methods = ["tmk"],  # noqa: B006
    norm: Norm = None,
    harmonics: Harmonics = None,
    periods: Periods = None,
    kernel: Kernel = None,
    as_published: AsPublished = False,
    longest_offset: LongestOffset = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Climbing, temporal alignment: how many recordings are placed to 0.1, 1 and 10 s."""
    from reelspace.cli import evaluating as words

    words.run(
        "climbing",
        root=root,
        features=features,
        encoder=encoder,
        methods=methods,
        norm=norm,
        harmonics=harmonics,
        periods=periods or (),
        kernel=kernel,
        as_published=as_published,
        longest_offset=longest_offset,
        output=output,
        as_json=as_json,
    )


@evaluating.command()
def madonna(
    *,
    root: Root,
    features: Features = None,
    encoder: Encoder = None,
    methods: Methods = ["tmk"],  # noqa: B006
    norm: Norm = None,
    harmonics: Harmonics = None,
    periods: Periods = None,
    kernel: Kernel = None,
    fold: Fold = None,
    as_published: AsPublished = False,
    longest_offset: LongestOffset = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Madonna, temporal alignment: how many recordings are placed to 0.1, 1 and 10 s, and find one another."""
    from reelspace.cli import evaluating as words

    words.run(
        "madonna",
        root=root,
        features=features,
        encoder=encoder,
        methods=methods,
        norm=norm,
        harmonics=harmonics,
        periods=periods or (),
        kernel=kernel,
        fold=fold,
        as_published=as_published,
        longest_offset=longest_offset,
        output=output,
        as_json=as_json,
    )


@evaluating.command()
def vcdb(
    *,
    root: Root,
    features: Features = None,
    encoder: Encoder = None,
    methods: Methods = ["tmk"],  # noqa: B006
    norm: Norm = None,
    harmonics: Harmonics = None,
    periods: Periods = None,
    kernel: Kernel = None,
    fold: Fold = None,
    as_published: AsPublished = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """VCDB, copied segments: the best F1 over thresholds, its precision and recall, per topic too."""
    from reelspace.cli import evaluating as words

    words.run(
        "vcdb",
        root=root,
        features=features,
        encoder=encoder,
        methods=methods,
        norm=norm,
        harmonics=harmonics,
        periods=periods or (),
        kernel=kernel,
        fold=fold,
        as_published=as_published,
        output=output,
        as_json=as_json,
    )
