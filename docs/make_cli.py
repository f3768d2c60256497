"""Writes docs/cli.md from the commands' own help: `make docs`."""

from __future__ import annotations

from pathlib import Path

import click

from clinquant.cli.main import COMMANDS, cli

HEAD = """# Command reference

Written by `make docs` from `--help`; a test compares. Exit codes and error codes: [errors.md](errors.md).
"""


def reference() -> str:
    """The page: the group's help, then each command's."""
    top = click.Context(cli, info_name="clinquant", terminal_width=100, color=False, **cli.context_settings)
    parts = [HEAD, _section("clinquant", cli.get_help(top))]
    for name in COMMANDS:
        command = cli.get_command(top, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=top, terminal_width=100, color=False)
        parts.append(_section(f"clinquant {name}", command.get_help(context)))
    return "\n".join(parts)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(reference(), encoding="utf-8")
