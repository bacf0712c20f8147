"""`roles`: shows and refreshes the shipped list of predefined roles that can download images."""

from __future__ import annotations

import typer

from remediate.cli.cloud_command import CloudCommand
from remediate.cli.inputs import current_settings
from remediate.cli.output import FormatOption, OutputFormat, print_rows

group = typer.Typer(help="Show or refresh the list of roles that can download images.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(group, name="roles")


@group.command("list")
def list_(format_: FormatOption = OutputFormat.TABLE) -> None:
    """List the shipped roles, and the date of the list."""
    from remediate.iam.access import shipped_roles

    shipped = shipped_roles()
    if format_ is not OutputFormat.TABLE:
        print_rows(format_, ("role",), [(role,) for role in shipped.roles], shipped)
        return
    print("\n".join(shipped.roles))
    print(f"{len(shipped.roles)} predefined roles include {shipped.permission}, as of {shipped.as_of}")


@group.command(cls=CloudCommand)
def refresh() -> None:
    """Replace the shipped list with today's predefined roles from IAM. Needs credentials."""
    from remediate.cloud.roles import GoogleRoles
    from remediate.iam.access import shipped_roles, write_roles
    from remediate.wiring import clock

    settings = current_settings()
    before = set(shipped_roles().roles)
    after = set(GoogleRoles(settings.endpoints.get("IAM"), settings.timeout).predefined_readers())
    write_roles(after, f"{clock():%Y-%m-%d}")
    for role in sorted(after - before):
        print(f"+ {role}")
    for role in sorted(before - after):
        print(f"- {role}")
    print(f"{len(after)} roles, {len(after - before)} new, {len(before - after)} removed")
