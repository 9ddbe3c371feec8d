"""The command line: one file per command; importing it, and asking for help, imports neither numba nor numpy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "run": "train a net from its spec",
    "check": "shapes, parameters, multiply-adds and memory of a spec, before anything runs",
    "diff": "what differs between two specs in meaning: nets, first weights, data, training",
    "ir": "read what the compiler made of a spec, stage by stage",
    "fmt": "format specs",
    "init": "write a commented spec for a folder of images",
    "layers": "the reference of layer kinds",
    "runs": "list runs, or compare two: what differs in their specs and in their results",
    "sweep": "variants of a spec times seeds: runs that go on where they stopped, a table with intervals, a picture",
    "eval": "how good a trained net is on the held-out images",
    "predict": "classify images with a trained net",
    "data": "sets of images: prepare them, look them over, show what training sees",
    "bench": "what every layer takes, against the machine's floor",
    "doctor": "what this machine offers: cores, BLAS, caches, CUDA",
}

EXAMPLES = """\
three things to do with a spec:
  alexdsl run specs/alexnet.net                      train it
  alexdsl check specs/alexnet.net                    change a line and see what follows from it
  alexdsl ir specs/alexnet.net --stage shaped        read what the compiler made

exit codes: 0 done, 1 the run failed, 2 the input was wrong, 130 stopped by Ctrl-C (saved; --resume goes on)
"""


class InputError(Exception):
    """Something the user gave cannot be used; the message says what and why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="alexdsl",
        description="A small language for neural networks, compiled to Numba kernels.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    argv = list(sys.argv[1:] if argv is None else argv)
    asked = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == asked:
            module = import_module(f"alexdsl.cli.{name}")
            module.arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    if args.version:
        from alexdsl import __version__

        print(__version__)
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    return _guarded(args)


def _guarded(args: argparse.Namespace) -> int:
    """Run the command; what users can mend becomes a message, never a traceback."""
    from alexdsl.language import SpecError

    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except (SpecError, InputError) as error:
        print(error if isinstance(error, SpecError) else f"error: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("error: out of memory", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (alexdsl ir ... | head): nothing is wrong.
        sys.stderr.close()
        return 0
