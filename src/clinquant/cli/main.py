"""The command line: one command, one file, one verb. Commands are imported when they are typed, so that help is quick."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from clinquant import __version__
from clinquant.cli.failures import explain, tell

COMMANDS: dict[str, str] = {
    "build": "Do the whole job: a labelled folder becomes a proven integer bundle.",
    "demo": "Build on a public set of brain MRI, downloaded once.",
    "audit": "Look for copies, leaks, conflicting labels and too few cases.",
    "split": "Decide who trains, who tunes and who is the locked test.",
    "train": "Train the float network of a run.",
    "quantize": "Put the float network of a run on integers.",
    "export": "Write the networks of a run as standard ONNX files.",
    "predict": "Say class, probability and REFER for images.",
    "compare": "Judge whether one set of predictions is not inferior to another.",
    "pack": "Write the bundle of a run.",
    "verify": "Refuse a bundle with any changed byte; replay its known answers.",
    "bench": "Time model files against each other.",
    "app": "Write the tablet app of a bundle: static files that work offline.",
    "report": "Write the page of a run that a person reads.",
    "explain": "Show what speaks for a class in images, float beside integer.",
    "evaluate": "See how a bundle does on labelled images of your own.",
    "serve": "Answer images over HTTP, on this machine or a local network.",
    "agree": "Compare a bundle's outputs on other processors and in the browser's runtime, byte by byte.",
    "study": "Rerun the paper's study on data sets of your own: one row a network.",
    "doctor": "Show versions, processor, caches and disk.",
    "methods": "List architectures, recipes and quantization methods.",
    "runtimes": "List the runtimes that can execute a model file.",
}
"""Name -> what it does; the command itself is `command` in `clinquant.cli.<name>`."""


class Commands(click.Group):
    """A group that imports a command only when it is needed, and knows its one-line help without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"clinquant.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, and names the nearest command when there is none of that name."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise click.UsageError(f"there is no command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="clinquant")
def cli() -> None:
    """Small integer medical image classifiers, with the evidence that nothing diagnostic was lost.

    Research use only. Not cleared or certified by any regulator. Not for diagnosis. A clinician must review every image.

    Start with: clinquant build DATA --out DIR
    """


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; every failure ends as one line and a fix."""
    try:
        code: Any = cli.main(list(arguments) or ["--help"], prog_name="clinquant", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has seen enough (click makes a SystemExit of it); Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:
        failure = explain(error)
        tell(failure, as_json="--json" in arguments)
        return int(failure.exit_code)


if __name__ == "__main__":
    main()
