"""`roles`: the predefined roles that let their members download images, as shipped; and bringing them up to date."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from remediate.cli.output import Format

group = typer.Typer(help="Show or refresh the roles that let their members download images.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(group, name="roles")


@group.command("list")
def list_(format_: Annotated[Format, typer.Option("--format", help="table, json or csv")] = Format.TABLE) -> None:
    """List the shipped roles, and of when they are."""
    from remediate.cli import output
    from remediate.iam.access import shipped_roles

    shipped = shipped_roles()
    match format_:
        case Format.JSON:
            output.print_json(shipped)
        case Format.CSV:
            output.print_csv(("role",), ((role,) for role in shipped.roles))
        case Format.TABLE:
            print("\n".join(shipped.roles))
            print(f"{len(shipped.roles)} predefined roles hold {shipped.permission}, as of {shipped.as_of}")


@group.command()
def refresh() -> None:
    """Ask IAM for the predefined roles of today, and write them in place of the shipped ones; needs credentials."""
    from remediate.cloud.roles import GoogleRoles
    from remediate.iam.access import shipped_roles, write_roles
    from remediate.settings import load_settings
    from remediate.wiring import clock

    settings = load_settings(os.environ)
    before = set(shipped_roles().roles)
    after = set(GoogleRoles(settings.endpoints.get("IAM"), settings.timeout).predefined_readers())
    write_roles(after, f"{clock():%Y-%m-%d}")
    for role in sorted(after - before):
        print(f"+ {role}")
    for role in sorted(before - after):
        print(f"- {role}")
    print(f"{len(after)} roles, {len(after - before)} new, {len(before - after)} gone")
