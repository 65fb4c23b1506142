"""The verbs. Everything heavy is imported inside them, so that ``--help`` is instant.

Exit codes: 0 done, 1 the study or a server failed, 2 bad input (nothing was started), 3 a row was not reproduced,
130 interrupted.
"""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench import __version__
from cnnbench.commands.cluster import cluster
from cnnbench.errors import UserError

if TYPE_CHECKING:
    from cnnbench.study import Study

app = typer.Typer(
    name="cnnbench", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Compare convolutional networks at an equal tuning budget, and say which differences are real.",
)  # fmt: skip

StudyFile = Annotated[
    Path, typer.Argument(metavar="STUDY", help="A study file, or the name of a ready-made study (cnnbench studies).")
]
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


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cnnbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version, and end.")
    ] = False,
) -> None: ...


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
    study: Annotated[Path, typer.Argument(help="A study file or ready-made study, or a folder with a ledger.")],
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
    from cnnbench.commands.studies import find
    from cnnbench.protocol import recorded
    from cnnbench.workflows.reproduction import seeds_of

    with _user_errors():
        found = recorded.find(find(study, folders=True), row, set_)
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
    from cnnbench.networks.spec import NetworkSpec

    with _user_errors():
        spec = NetworkSpec(
            architecture, classes=classes, channels=channels, image_size=image_size, stem=stem, width=width,
            depth=depth, components=networks.component_values(set_),
        )  # fmt: skip
        described = networks.describe(spec, speed=speed)
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
    from cnnbench.commands.ui import serve

    with _user_errors():
        serve(tracking_uri, storage, port)


app.add_typer(cluster, name="cluster")


@app.command()
def studies(as_json: AsJson = False) -> None:
    """The ready-made studies, which every verb takes by name."""
    from cnnbench.commands.studies import listed, studies_table
    from cnnbench.commands.terminal import print_table

    if as_json:
        typer.echo(json.dumps(listed(), indent=1))
    else:
        print_table(studies_table(listed()))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the study: small letters, digits, '_', '-', '.'.")],
    dataset: Annotated[str, typer.Option(help="A data set, such as image_folder for your own images.")],
    root: Annotated[Path | None, typer.Option(help="The folder that the data lie in.")] = None,
) -> None:
    """Write a study file NAME.yaml that runs, with a comment on each field that matters."""
    from cnnbench.commands.new import write

    with _user_errors():
        for line in write(name, dataset, root):
            typer.echo(line)


@app.command()
def choices(
    place: Annotated[
        str | None, typer.Argument(help="One list alone, as in: study, data.dataset, space, activation.")
    ] = None,
) -> None:
    """The names that a study file may use: fields, data sets, hyperparameters, components and their values."""
    from cnnbench.commands.choices import lines
    from cnnbench.vocabulary import vocabulary

    with _user_errors():
        for line in lines(vocabulary(), place):
            typer.echo(line)


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
    from cnnbench.commands.studies import find
    from cnnbench.study import load
    from cnnbench.vocabulary import vocabulary

    return load(find(path), vocabulary(), overrides)


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
