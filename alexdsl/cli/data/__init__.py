"""``alexdsl data``: sets of images prepared, looked over and shown; one file per command."""

from __future__ import annotations

import argparse
from importlib import import_module

COMMANDS = {
    "prepare": "images into shards with an index, ready to train from",
    "verify": "corrupt, changed, duplicate and misnamed images, by name",
    "stats": "what a set is like: images a class, sizes, colours",
    "show": "a picture of what training sees: augmented, with labels",
    "get": "a published set, fetched and checked: fashion-mnist, cifar-10, imagenette",
}


def arguments(command: argparse.ArgumentParser) -> None:
    """The commands, each with its arguments."""
    command.epilog = "examples:\n" + "".join(
        f"  alexdsl data {name} --help{'':<{10 - len(name)}} {text}\n" for name, text in COMMANDS.items()
    )
    commands = command.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        module = import_module(f"alexdsl.cli.data.{name}")
        own = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(own)
        own.set_defaults(run_data=module.run)


def run(args: argparse.Namespace) -> int:
    """Run the command that was named; what is wrong with data or its files is the user's to mend."""
    from alexdsl.cli import InputError
    from alexdsl.data.errors import DataError

    try:
        code: int = args.run_data(args)
        return code
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error
    except DataError as error:
        raise InputError(str(error)) from error
