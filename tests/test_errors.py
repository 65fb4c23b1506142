"""What a user is told of what went wrong: one message for what users can cause, a traceback for a bug."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
import typer

import cnnbench
from cnnbench.commands.cli import _user_errors
from cnnbench.errors import UserError

# What no user sees: it is caught where it is raised, or says how a training or a study went.
CAUGHT = {
    "Unsuitable": "components: a value that does not fit a site, said as a ComponentError",
    "Diverged": "a trial's end, in the ledger",
    "BadCheckpoint": "a damaged checkpoint, which is set aside",
    "_Unfit": "why a row can't be built, said as a StudyError",
    "Undecodable": "a damaged image, said as a DataError",
    "_KilledForMemory": "what Tune is told of a killed process",
    "_Fault": "a trial's own, in the ledger",
    "_CalledOff": "a trial that its search has ended",
    "Interrupted": "Ctrl-C and SIGTERM, which have an exit code of their own",
    "OutOfReach": "what a trial's process can't import",
}


def exceptions() -> Iterator[type[BaseException]]:
    """Every exception class that cnnbench defines."""
    for module in pkgutil.walk_packages(cnnbench.__path__, "cnnbench."):
        if module.name.endswith("__main__"):
            continue
        for thing in vars(importlib.import_module(module.name)).values():
            if isinstance(thing, type) and issubclass(thing, BaseException) and thing.__module__ == module.name:
                yield thing


def test_every_exception_is_a_message_to_users_or_caught():
    found = {error.__name__: error for error in exceptions()}
    assert {"StudyError", "Held", "ClusterError", "UnknownName"} <= set(found)
    others = {name for name, error in found.items() if not issubclass(error, UserError)}
    assert others == set(CAUGHT)


@pytest.mark.parametrize("error", sorted(set(exceptions()), key=lambda error: error.__name__), ids=lambda e: e.__name__)
def test_a_message_to_users_is_printed_alone_with_exit_code_2_and_anything_else_is_a_bug(error, capsys):
    raised = error.__new__(error)
    raised.args = ("what is wrong",)
    expected: type[BaseException] = typer.Exit if issubclass(error, UserError) else error
    with pytest.raises(expected) as ended, _user_errors():
        raise raised
    if isinstance(ended.value, typer.Exit):
        assert ended.value.exit_code == 2
        assert capsys.readouterr().err.endswith("\n")
