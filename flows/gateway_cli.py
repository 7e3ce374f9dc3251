"""The part of the `evergreen` command that is about the gateway."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from configs.errors import ConfigError
from configs.project import Project
from flows.clock import now
from flows.embedded import embedded

if TYPE_CHECKING:
    from serving.access import Scope

keys = typer.Typer(no_args_is_help=True, help="Keys that clients of the gateway show; only their hashes are kept.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; shown in lists, never a secret.")]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; left out, the place's own.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; left out, the place's own.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer; left out, the place's own.")] = None,
) -> None:
    """The gateway: answers users with the champions, and writes every prediction down; Ctrl-C drains and stops it."""
    from configs.environment import apply
    from serving.logs import log_as
    from serving.supervisor import serve as run

    project = Project.here()
    apply(project)
    log_as("gateway")
    asked = {"host": host, "port": port, "workers": workers}
    place = project.place.gateway
    changed = place.model_dump() | {name: value for name, value in asked.items() if value is not None}
    run(project, type(place).model_validate(changed))


def score(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case described in configs/.")],
    source: Annotated[str, typer.Argument(help="A Parquet or CSV file, a folder of them, any fsspec URL; or a query.")],
    output: Annotated[Path | None, typer.Option(help="Parquet file to write; left out, one under data/CASE/.")] = None,
    url_from: Annotated[
        str | None, typer.Option(help="Environment variable with the database's URL; SOURCE is then a query.")
    ] = None,
) -> None:
    """Score many rows with the champion, through the gateway's own code and into the prediction log."""
    from configs.environment import apply

    project = Project.here()
    project.case(case)
    apply(project)
    with embedded():
        from flows.scoring import scoring

        done = scoring(case=case, source=source, output=str(output) if output else None, url_from=url_from)
    typer.echo(f"version {done.version} scored {done.rows:,} rows in {done.seconds:.1f} s, {done.refused:,} refused")
    typer.echo(f"answers: {done.output}")


@keys.command("add", epilog="Example: `evergreen keys add web-shop`")
def add_key(
    name: Name, admin: Annotated[bool, typer.Option("--admin", help="May also read figures and status.")] = False
) -> None:
    """Make a key and print it, this once."""
    from serving.access import Keys

    path = _keys_file()
    scopes: tuple[Scope, ...] = ("predict", "admin") if admin else ("predict",)
    kept, key = Keys.read(path).with_new(name, scopes, now())
    kept.write(path)
    typer.echo(key)


@keys.command("list", epilog="Example: `evergreen keys list`")
def list_keys() -> None:
    """The names, scopes and ages of all keys."""
    from serving.access import Keys

    for key in Keys.read(_keys_file()).keys:
        typer.echo(f"{key.name}  {'+'.join(key.scopes)}  since {key.created_at:%Y-%m-%d}")


@keys.command("remove", epilog="Example: `evergreen keys remove web-shop`")
def remove_key(name: Name) -> None:
    """Take a key's right away; the gateway refuses it within a second."""
    from serving.access import Keys

    path = _keys_file()
    Keys.read(path).without(name).write(path)


def _keys_file() -> Path:
    project = Project.here()
    if project.place.gateway.keys is None:
        raise ConfigError(
            f"The place `{project.place_name}` asks for no keys: set `gateway.keys` in "
            f"configs/places/{project.place_name}.yaml to the file that should hold them, for example data/keys.json."
        )
    return project.root / project.place.gateway.keys
