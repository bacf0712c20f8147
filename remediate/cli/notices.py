"""`notices`: the schema of what the topic carries."""

from __future__ import annotations

import typer

group = typer.Typer(
    help="Describe the notices that remediate sends to the topic and the webhooks.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(group, name="notices")


@group.callback()
def options() -> None:
    """Describe the notices that remediate sends to the topic and the webhooks."""


@group.command()
def schema() -> None:
    """Print the JSON Schema of a notice on the Pub/Sub topic."""
    from remediate.cli import output
    from remediate.records.notice import notice_schema

    output.print_json(notice_schema())
