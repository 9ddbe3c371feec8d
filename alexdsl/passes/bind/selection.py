"""What ``place`` and the solver's blocks mean by names and ranges: the steps of statements."""

from __future__ import annotations

from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import suggest
from alexdsl.passes.bind.net import POISON, Net
from alexdsl.passes.bind.scope import Scope
from alexdsl.passes.bind.values import BROKEN, Ref, Unusable


def text_of(selector: s.Name | s.Range) -> str:
    """A selector as written."""
    return selector.id if isinstance(selector, s.Name) else f"{selector.first}..{selector.last}"


def steps_named(name: str, net: Net) -> set[str]:
    """The steps of a statement, group, repeat or def use, or one step."""
    named = {step for statement in net.statements if statement.name == name for step in statement.steps}
    named |= net.groups.get(name, set())
    every = (step for statement in net.statements for step in statement.steps)
    return named | {step for step in every if step == name or step.startswith(f"{name}.")}


def steps_between(selector: s.Range, net: Net, scope: Scope) -> set[str]:
    """The steps of the statements from one name to another, both included, in file order. Raises Unusable."""
    names = [statement.name for statement in net.statements]
    for end in (selector.first, selector.last):
        if end not in names:
            if not is_broken(end, net, scope):
                near = suggest(end, names)
                hint = f"did you mean '{near}'?" if near else "a range goes from one statement's name to another's"
                net.diagnostics.error(selector.span, f"the range's end '{end}' is no statement of the net", hint=hint)
            raise Unusable
    first, last = names.index(selector.first), names.index(selector.last)
    if first > last:
        hint = f"in the order of the file: {selector.last}..{selector.first}"
        net.diagnostics.error(selector.span, f"the range {text_of(selector)} runs backwards", hint=hint)
        raise Unusable
    between = net.statements[first : last + 1]
    if any(not statement.steps and is_broken(statement.name, net, scope) for statement in between):
        raise Unusable
    return {step for statement in between for step in statement.steps}


def is_broken(name: str, net: Net, scope: Scope) -> bool:
    """Whether a name stands for what could not be bound, so that nothing more need be said about it."""
    head = name.partition(".")[0]
    found = scope.lookup(name) or scope.lookup(head)
    if found is BROKEN or (isinstance(found, Ref) and found.value == POISON):
        return True
    # A kind, role, group or def of which there might be uses, were the net whole.
    known = name in net.layers or name in net.groups or scope.line_of(head) is not None or name in ("weight", "bias")
    return known and net.failed
