"""The front door of the `legend` command: finds a command's folder and reports its errors."""

import _thread
import errno
import importlib
import io
import os
import signal
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from typing import NoReturn

import click

COMMANDS = {
    "demo": "benchmarks.cli",
    "profile": "profiler.cli.profile",
    "fleet": "profiler.cli.fleet",
    "solve": "solver.cli.solve",
    "verify": "solver.cli.verify",
    "compare": "solver.cli.compare",
    "frontier": "solver.cli.frontier",
    "diff": "solver.cli.diff",
    "export": "finetune.cli.export",
    "run": "finetune.cli.run",
    "rehearse": "finetune.cli.rehearse",
    "report": "finetune.cli.report",
    "schema": "finetune.cli.schema",
    "plan-from-peft": "solver.cli.plan_from_peft",
    "doctor": "finetune.cli.doctor",
    "completion": "finetune.cli.completion",
}

# What a full disk, or a printer out of paper, says.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

# What asking for a path says, long before it is read or written, of one that nobody can use.
UNUSABLE = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP)

# Packages that a bare install lacks, and the extra that brings them.
EXTRAS = {
    **dict.fromkeys(["jinja2", "matplotlib", "peft", "psutil", "safetensors"], "run"),
    **dict.fromkeys(["torch", "transformers"], "run"),
    "pyarrow": "all",
    "flwr": "flower",
}


class _Lazy(click.Group):
    """Loads a command's module when the command is called, so that solving needs no torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            command.help = _with_breaks(command.help)
        return name, command, rest

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name])
        _let_commands_stop()
        command = getattr(module, cmd_name.replace("-", "_"))
        return command if isinstance(command, click.Command) else None


def _with_breaks(text: str | None) -> str | None:
    r"""Turn the '\b' of a raw docstring into click's mark of lines to keep as they are."""
    return None if text is None else text.replace("\\b\n", "\b\n")


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="legend-planner")
def cli() -> None:
    r"""Plan federated LoRA on devices that differ: who adapts how many layers, at which ranks.

    \b
    Exit codes: 0 done, 2 bad input, 3 infeasible, 1 a bug, 4 stopped early
    (with a usable result, unless the line on stderr says that there is none).
    """


cli.help = _with_breaks(cli.help)


def open_door() -> None:
    """Run the command line; every failure is one line and an exit code, never a traceback."""
    _heed_no_color()
    _mend_streams()
    if "" in sys.argv[1:]:
        # An empty path would be this folder, an empty name nothing at all.
        _fail("an argument is empty, as of a variable that is not set; leave it out", 2)
    try:
        code = cli(prog_name="legend", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _fail(_with_hint(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped by the user", 130)
    except BrokenPipeError:
        os._exit(0)
    except SystemExit as ended:
        # So click and rich end where nobody reads on; no command ends itself.
        if ended.code == 1:
            os._exit(0)
        raise
    except OSError as error:
        if error.errno in UNUSABLE and error.filename is not None:
            _fail(f"{error.filename}: {error.strerror}; choose another path", 2)
        # Files are named where they are read and written; this is what is printed on.
        if error.errno not in FULL or error.filename is not None:
            _fail(_keep_traceback(error), 1)
        _end(f"cannot print: {error.strerror}", 2)
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            # Python 3.11 wraps what is raised while it names a class's attributes.
            _fail("stopped by the user", 130)
        missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
        if missing in EXTRAS:
            extra = f"pip install 'legend-planner[{EXTRAS[missing]}]'"
            _fail(f"this needs {missing}, which is not installed; get it with: {extra}", 2)
        code = getattr(error, "exit_code", 1)
        _fail(str(error) if code != 1 else _keep_traceback(error), code)
    # A command that ends early hands its exit code back.
    sys.exit(code if isinstance(code, int) else 0)


def _let_commands_stop() -> None:
    """Hand Ctrl-C on to the command, which may have something to keep."""
    # `legend.py` has put something else there; whoever ignores Ctrl-C still does.
    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = _raise_again


def _raise_again(lost: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C again, where Python shows and forgets it, as in what imports clean up."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(lost)


def _with_hint(error: click.ClickException) -> str:
    """One line, and where to read what there is for who asked for what there is not."""
    text = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if context is None or not text.startswith(("No such", "Missing", "Got unexpected")):
        return text
    stop = "" if text.endswith((".", "?")) else "."
    return f"{text}{stop} See '{context.command_path} --help'"


def _mend_streams() -> None:
    """Print nowhere where a stream is closed, and what its encoding lacks as a '?'."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Open for as long as the program runs.
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, name, nowhere)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _heed_no_color() -> None:
    """Let NO_COLOR win over what takes a file or a pipe for a terminal, here and in children.

    On a terminal bold and dim text stay: they are no colours.
    """
    if os.environ.get("NO_COLOR"):
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
            os.environ.pop(name, None)


def _fail(message: str, code: int) -> NoReturn:
    # Where nothing can be said, the exit code still says it.
    with suppress(OSError):
        click.echo(f"legend: {message}", err=True)
    sys.exit(code)


def _end(message: str, code: int) -> NoReturn:
    """End at once: what is left to print would fail again."""
    with suppress(OSError):
        click.echo(f"legend: {message}", err=True)
    os._exit(code)


def _keep_traceback(error: Exception) -> str:
    handle, path = tempfile.mkstemp(prefix="legend-bug-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    return f"this is a bug ({type(error).__name__}: {error}); please report it with {path}"
