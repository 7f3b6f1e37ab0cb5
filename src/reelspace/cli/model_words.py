"""The words of `reelspace models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["models"]

models = typer.Typer(
    help="The models: what they read and give, what they may be used for; fetch, bring in and check their weights.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Family = Annotated[str | None, typer.Option(help="Only this family, such as hiera.")]
Text = Annotated[bool, typer.Option("--text", help="Only those that read text, too.")]
Classes = Annotated[bool, typer.Option("--classes", help="Only those that name classes.")]
Commercial = Annotated[bool, typer.Option("--commercial", help="Only those whose licence allows commercial use.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="As a table for a README.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model, or hf:ORG/NAME for one on the hub.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Models, or hf:ORG/NAME for those on the hub.")]


@models.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    family: Family = None,
    text: Text = False,
    classes: Classes = False,
    commercial: Commercial = False,
    markdown: Markdown = False,
    as_json: Json = False,
) -> None:
    if context.invoked_subcommand is None:
        list_models(family, text, classes, commercial, markdown, as_json)


@models.command("list")
def list_models(
    family: Family = None,
    text: Text = False,
    classes: Classes = False,
    commercial: Commercial = False,
    markdown: Markdown = False,
    as_json: Json = False,
) -> None:
    """List the models; the same as `reelspace models` alone."""
    from reelspace.cli import models as words

    words.list_models(
        family=family, text=text, classes=classes, commercial=commercial, markdown=markdown, as_json=as_json
    )


@models.command()
def show(name: Name, as_json: Json = False) -> None:
    """Everything about one model: input, outputs, licence, training data, paper, published score."""
    from reelspace.cli import models as words

    words.show(name, as_json=as_json)


@models.command()
def pull(names: Names, as_json: Json = False) -> None:
    """Fetch and verify the weights of models. What was cut goes on where it stopped."""
    from reelspace.cli import models as words

    words.pull(names, as_json=as_json)


@models.command("import")
def import_files(
    name: Name,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Its files, named as `show` lists them.")],
    as_json: Json = False,
) -> None:
    """Bring in weights that were fetched elsewhere, verified as if they had been pulled."""
    from reelspace.cli import models as words

    words.import_files(name, files, as_json=as_json)


@models.command()
def check(
    name: Name,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: Json = False,
) -> None:
    """Compare what a model makes of the golden input with what it made before. Exits 1 when it differs."""
    from reelspace.cli import models as words

    words.check(name, device=device, as_json=as_json)
