"""The verbs. Everything heavy is imported inside them, so that ``--help`` is instant.

Exit codes: 0 done, 1 the study or a server failed, 2 bad input (nothing was started), 3 a row was not reproduced,
130 interrupted.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.errors import UserError

if TYPE_CHECKING:
    from cnnbench.study import Study

app = typer.Typer(
    name="cnnbench", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Compare convolutional networks at an equal tuning budget, and say which differences are real.",
)  # fmt: skip

StudyFile = Annotated[Path, typer.Argument(help="A study file, such as search_spaces/digits.yaml.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="FIELD=VALUE", help="Replace a field, as in --set budget.trials=4.")
]
Takeover = Annotated[
    bool, typer.Option("--takeover", help="Go on with a study that another process is said to run, which is gone.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
ImageSize = Annotated[int, typer.Option(min=1, help="Side of the input in pixels.")]
Channels = Annotated[int, typer.Option(min=1, max=3, help="Channels of the input.")]
Classes = Annotated[int, typer.Option(min=2, help="Number of classes.")]


def main() -> None:
    """The console script."""
    app()


@app.command()
def run(
    study_file: StudyFile,
    set_: Overrides = [],  # noqa: B006 (typer's way)
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what it will cost; run nothing.")
    ] = False,
    takeover: Takeover = False,
) -> None:
    """Search, finals and leaderboard of a study. Run again, it continues: nothing finished is done twice."""
    with _user_errors():
        study = _load(study_file, set_)
        if dry_run:
            _print_plan(study)
            return
        _run(study, _again("run", study_file, set_), takeover=takeover)


@app.command()
def effects(
    study_file: StudyFile,
    set_: Overrides = [],  # noqa: B006 (typer's way)
    takeover: Takeover = False,
) -> None:
    """What each component does: swap one at a time in each frozen configuration of a study that was run."""
    with _user_errors():
        study = _load(study_file, set_)
        _run(study, _again("effects", study_file, set_), takeover=takeover, effects_of=study_file)


@app.command()
def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]…", help="Folders of studies, such as results/digits, or published ones."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes; by default reports/STUDY, of several reports/joint.")
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="An MLflow server or database to read the studies from, instead of folders.")
    ] = None,
    study: Annotated[
        list[str] | None, typer.Option("--study", metavar="NAME", help="A study of --tracking-uri; may stand again.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="Print the table only: md, latex, csv, json; or the page: html.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="With --format: a file instead of standard output.")] = None,
) -> None:
    """Make the leaderboard of a study again, from its ledger; of several studies, side by side on one page."""
    from cnnbench.commands import report as reporting
    from cnnbench.commands import terminal
    from cnnbench.report.files import write_whole

    with _user_errors():
        if output and not format_:
            _fail("--output: goes with --format; --out names the folder of a whole report")
        if out and format_:
            _fail("--out: names the folder of a whole report; with --format, give --output")
        sources = reporting.read_sources(folders or [], tracking_uri, study or [])
        for warning in (warning for source in sources for warning in source.warnings):
            typer.echo(warning, err=True)
        if format_ is None:
            terminal.print_report(reporting.write(sources, out))
            return
        text = reporting.text(sources, format_)
        if output:
            write_whole(output, text)
        else:
            typer.echo(text, nl=False)


@app.command()
def reproduce(
    study: Annotated[Path, typer.Argument(help="A study file, or a folder with ledger.jsonl and study.json.")],
    row: Annotated[str, typer.Argument(help="A leaderboard row's name, or its id.")],
    seeds: Annotated[
        int | None, typer.Option(min=1, help="New runs; by default 1, or with --same-seeds as many as there are.")
    ] = None,
    same_seeds: Annotated[bool, typer.Option("--same-seeds", help="The seeds of the row's finals again.")] = False,
    allow_different_data: Annotated[
        bool, typer.Option("--allow-different-data", help="Run it even if the images are others.")
    ] = False,
    set_: Annotated[
        list[str], typer.Option("--set", metavar="FIELD=VALUE", help="This machine: data.root, resources or storage.")
    ] = [],  # noqa: B006 (typer's way)
    takeover: Takeover = False,
) -> None:
    """Run a leaderboard row again. Exit code 0: as was to be expected of it; 3: it came out otherwise."""
    from cnnbench.commands.run import run_again
    from cnnbench.protocol import recorded
    from cnnbench.workflows.reproduction import seeds_of

    with _user_errors():
        found = recorded.find(study, row, set_)
        chosen = seeds_of(found, seeds, same=same_seeds)
        typer.echo(found)
        options = [*(["--seeds", str(seeds)] if seeds else []), *(["--same-seeds"] if same_seeds else []),
                   *(["--allow-different-data"] if allow_different_data else [])]  # fmt: skip
        again = _again("reproduce", study, set_, row, *options)
        code = run_again(found, chosen, again, allow_different_data=allow_different_data, takeover=takeover)
    raise typer.Exit(code)


@app.command()
def models(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="By default all.")] = None,
    as_json: AsJson = False,
    image_size: ImageSize = 32,
    channels: Channels = 3,
    classes: Classes = 10,
    components: Annotated[
        bool, typer.Option("--components", help="How many sites each component has, as --json always says.")
    ] = False,
) -> None:
    """Architectures: year, paper, parameters, MACs and FLOPs of one image's forward pass, smallest image."""
    from rich.console import Console

    from cnnbench.commands import models as networks
    from cnnbench.commands.model_tables import components_table, models_table
    from cnnbench.commands.terminal import print_table

    with _user_errors(), Console(stderr=True).status("counting") as status:
        rows = networks.models(
            names or (), image_size=image_size, channels=channels, classes=classes, components=components or as_json,
            on_row=lambda done, total: status.update(f"counting: {done} of {total}"),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        table = components_table if components else models_table
        print_table(table(rows, f"at {channels}×{image_size}×{image_size}, {classes} classes"))


@app.command()
def describe(
    architecture: Annotated[str, typer.Argument(help="A name from cnnbench models.")],
    set_: Annotated[
        list[str], typer.Option("--set", metavar="KIND=VALUE", help="Put in a component, as in --set activation=mish.")
    ] = [],  # noqa: B006 (typer's way)
    image_size: ImageSize = 32,
    channels: Channels = 3,
    classes: Classes = 10,
    width: Annotated[float, typer.Option(help="Multiplies the channel counts.")] = 1.0,
    depth: Annotated[float, typer.Option(help="Multiplies the blocks of each stage.")] = 1.0,
    stem: Annotated[str, typer.Option(help="auto, small or imagenet.")] = "auto",
    speed: Annotated[bool, typer.Option("--speed", help="Also measure latency, throughput and memory here.")] = False,
    as_json: AsJson = False,
) -> None:
    """A network layer by layer: output size, receptive field, parameters, MACs; and the sites of each component."""
    from cnnbench.commands import models as networks
    from cnnbench.commands.model_tables import description_table
    from cnnbench.commands.terminal import print_table

    with _user_errors():
        described = networks.describe(
            architecture, networks.component_values(set_), image_size=image_size, channels=channels, classes=classes,
            stem=stem, width=width, depth=depth, speed=speed,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(described, indent=1))
    else:
        print_table(description_table(described))


@app.command()
def ui(
    storage: Annotated[Path, typer.Option(help="The storage folder of the studies.")] = Path("results"),
    tracking_uri: Annotated[
        str | None, typer.Option(help="An MLflow database; by default the storage folder's.")
    ] = None,
    port: Annotated[int, typer.Option(min=1024, max=65535)] = 5000,
) -> None:
    """Open the MLflow UI of the studies on http://127.0.0.1:PORT, for this machine alone."""
    from cnnbench.study import StorageFolder
    from cnnbench.tracking.tracker import ENVIRONMENT, ui_command

    database = StorageFolder(storage).mlflow_database
    if tracking_uri is None and not database.exists():
        _fail(f"{database}: no such file; run a study first, or give --storage")
    try:
        command = ui_command(tracking_uri, storage, port)
    except ValueError as error:
        _fail(str(error))
    typer.echo(f"MLflow UI on http://127.0.0.1:{port} (Ctrl-C ends it): choose 'Model training', then the study's name")
    sys.stdout.flush()
    os.execvpe(command[0], command, {**ENVIRONMENT, **os.environ})


cluster = typer.Typer(no_args_is_help=True, help="Ray clusters.")
app.add_typer(cluster, name="cluster")


@cluster.callback()
def _cluster() -> None: ...  # so that a single command keeps its name


@cluster.command("check")
def cluster_check(
    file: Annotated[Path, typer.Argument(help="A Ray cluster launcher file, such as cluster.yaml.")],
) -> None:
    """What is wrong, unsafe or unrepeatable in a launcher file, with line and remedy. Exit code 1: something is."""
    from cnnbench.cluster_check import check

    found = check(file)
    for finding in found:
        typer.echo(f"{file}, {finding}")
    typer.echo(f"{file}: {len(found) or 'no'} finding{'s' * (len(found) != 1)}", err=bool(found))
    raise typer.Exit(1 if found else 0)


@app.command()
def doctor(
    storage: Annotated[Path, typer.Option(help="Where studies will lie.")] = Path("results"),
    constraints: Annotated[Path, typer.Option(help="The versions to compare with.")] = Path("constraints.txt"),
) -> None:
    """Whether this machine can run studies, with a remedy for what it lacks. Exit code 1: something is wrong."""
    from cnnbench.commands.doctor import examine

    healthy = True
    for answer in examine(storage, constraints if constraints.exists() else None):
        typer.echo(str(answer))
        healthy &= answer.remedy is None
    raise typer.Exit(0 if healthy else 1)


# ---------------------------------------------------------------- the parts of verbs


def _load(path: Path, overrides: list[str]) -> "Study":
    from cnnbench.study import load
    from cnnbench.vocabulary import vocabulary

    return load(path, vocabulary(), overrides)


def _again(verb: str, path: Path, overrides: list[str], *others: str) -> str:
    """The command line that goes on with what this one began."""
    settings = (part for value in overrides for part in ("--set", value))
    return shlex.join(["cnnbench", verb, str(path), *others, *settings])


def _run(study: "Study", again: str, *, takeover: bool, effects_of: Path | None = None) -> None:
    from cnnbench.commands.run import run_study  # slow: a study file's faults are told before

    raise typer.Exit(run_study(study, again, takeover=takeover, effects_of=effects_of))


def _print_plan(study: "Study") -> None:
    from rich.console import Console

    from cnnbench.protocol.estimate import estimate

    with Console().status("probing each architecture for some steps"):
        plan = estimate(study)
    typer.echo(plan)


# ---------------------------------------------------------------- errors


def _fail(message: str) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(2)


@contextmanager
def _user_errors() -> Iterator[None]:
    """A user's mistake is one message without a traceback."""
    try:
        yield
    except UserError as error:
        _fail(str(error))
