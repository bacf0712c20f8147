"""`notices`: what machines that read the topic have to know."""

from __future__ import annotations

import typer

group = typer.Typer(help="What is sent to the topic and the webhooks.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(group, name="notices")


@group.callback()
def options() -> None:
    """What is sent to the topic and the webhooks."""


@group.command()
def schema() -> None:
    """Print the JSON Schema of a notice, as it is sent to the Pub/Sub topic."""
    from remediate.cli import output
    from remediate.records.notice import notice_schema

    output.print_json(notice_schema())
