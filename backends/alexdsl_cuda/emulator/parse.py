"""Parses PTX text into the tree of ``ptx.py``: the parts of the language that compilers for CUDA write."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from alexdsl_cuda.emulator.ptx import (
    WIDTHS,
    Address,
    Function,
    Group,
    Imm,
    Instruction,
    Not,
    Operand,
    Param,
    Program,
    PtxError,
    Reg,
    Symbol,
    Variable,
)  # fmt: skip

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r]+|//[^\n]*)|(?P<newline>\n)|(?P<comment>/\*.*?\*/)|(?P<string>"[^"\n]*")
    |(?P<number>0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}|0[xX][0-9a-fA-F]+U?|\d+\.\d*(?:[eE][-+]?\d+)?|\d+U?)
    |(?P<word>[.%$_A-Za-z][\w$.]*(?:::[\w.]+)*)|(?P<mark>[{}\[\](),;:@!|+\-<>=])""",
    re.VERBOSE | re.DOTALL,
)
_SPECIAL = re.compile(r"%(tid|ntid|ctaid|nctaid)\.[xyz]|%(laneid|warpid|nwarpid|lanemask_\w\w|\w+_smem_size)")
_HEADS = {".visible", ".extern", ".weak", ".common", ".hidden"}


@dataclass(frozen=True)
class _Token:
    text: str
    kind: str
    line: int


@dataclass
class _Scope:
    """What a pair of braces declares: registers by name or by prefix and count, and variables."""

    suffix: str
    names: set[str] = field(default_factory=set)
    ranges: dict[str, int] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        if name in self.names:
            return True
        prefix = name.rstrip("0123456789")
        return prefix != name and int(name[len(prefix) :]) < self.ranges.get(prefix, 0)


def parse(text: str) -> Program:
    """A PTX text's functions and variables. Raises ``PtxError`` for what is not understood, naming the line."""
    return _Parser(text).program


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.program = Program()
        self.files = {int(n): path for n, path in re.findall(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', text, re.MULTILINE)}
        self.scopes: list[_Scope] = []
        self.count = 0
        while self.peek().kind != "end":
            self.top()

    # Tokens

    def peek(self) -> _Token:
        return self.tokens[self.at]

    def next(self) -> _Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def take(self, text: str) -> bool:
        if self.peek().text != text:
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.wrong(f"expected '{text}'")

    def wrong(self, why: str) -> PtxError:
        token = self.peek()
        return PtxError(f"PTX line {token.line}: {why}, found '{token.text}'")

    def skip_line(self) -> None:
        line = self.peek().line
        while self.peek().line == line and self.peek().kind != "end":
            self.at += 1

    def number(self) -> Imm:
        negative = self.take("-")
        if self.peek().kind != "number":
            raise self.wrong("expected a number")
        text = self.next().text
        if text[:2] in ("0f", "0F"):
            value = Imm(int(text[2:], 16), "f32")
        elif text[:2] in ("0d", "0D"):
            value = Imm(int(text[2:], 16), "f64")
        elif "." in text:
            value = Imm(int.from_bytes(struct.pack("<d", float(text)), "little"), "f64")
        else:
            value = Imm(int(text.rstrip("U"), 0))
        if negative:
            sign = {"f32": 1 << 31, "f64": 1 << 63}.get(value.type)
            return Imm(-value.value) if sign is None else Imm(value.value ^ sign, value.type)
        return value

    def integer(self) -> int:
        return self.number().value

    # Declarations

    def top(self) -> None:
        head = self.peek().text
        if head in (".version", ".address_size", ".file"):
            self.skip_line()
        elif head == ".target":
            self.next()
            self.program.target = self.peek().text
            self.skip_line()
        elif head == ".section":
            while not self.take("}"):
                self.at += 1
        elif head in _HEADS:
            self.next()
        elif head in (".entry", ".func"):
            self.function()
        elif head in (".global", ".const", ".shared"):
            variable = self.variable()
            self.program.variables[variable.name] = variable
        else:
            raise self.wrong("expected a declaration")

    def declared(self) -> tuple[str, int, int, str]:
        """``[.align n] .type name[count]``: the type, the alignment and size in bytes, the name."""
        align = 0
        while True:
            word = self.next().text
            if word == ".align":
                align = self.integer()
            elif word[1:] in WIDTHS:
                type = word[1:]
                break
            elif word not in (".ptr", ".global", ".shared", ".const", ".local", ".generic"):
                raise self.wrong(f"'{word}' is no type")
        while self.peek().text in (".ptr", ".global", ".shared", ".const", ".local", ".align"):
            if self.next().text == ".align":
                self.integer()
        name, size = self.next().text, WIDTHS[type] // 8
        align = align or size
        while self.take("["):
            size *= 0 if self.peek().text == "]" else self.integer()
            self.expect("]")
        return type, align, size, name

    def variable(self) -> Variable:
        space = self.next().text[1:]
        type, align, size, name = self.declared()
        initial = None
        if self.take("="):
            initial = self.initial(type)
        self.expect(";")
        return Variable(name, space, align, size, initial)

    def initial(self, type: str) -> bytes:
        values = []
        braces = self.take("{")
        while True:
            if self.peek().kind not in ("number", "mark"):
                raise self.wrong("an initial value that is no number")
            values.append(self.number())
            if not self.take(","):
                break
        if braces:
            self.expect("}")
        width = WIDTHS[type]
        return b"".join((v.value & ((1 << width) - 1)).to_bytes(width // 8, "little") for v in values)

    def params(self) -> list[Param]:
        found: list[Param] = []
        offset = 0
        self.expect("(")
        while not self.take(")"):
            self.next()
            type, align, size, name = self.declared()
            offset = -(-offset // align) * align
            found.append(Param(name, type, offset, size))
            offset += size
            self.take(",")
        return found

    def function(self) -> None:
        entry = self.next().text == ".entry"
        returns = self.params() if not entry and self.peek().text == "(" else []
        function = Function(self.next().text, entry, returns=returns)
        if self.peek().text == "(":
            function.params = self.params()
        while self.peek().text not in ("{", ";"):
            self.at += 1
        if self.take(";"):
            return
        self.program.functions[function.name] = function
        _Body(self, function).read()


class _Body:
    """Reads the statements between a function's braces."""

    def __init__(self, parser: _Parser, function: Function) -> None:
        self.p, self.function = parser, function
        self.scopes: list[_Scope] = []
        self.opened = 0
        self.source: tuple[str, int] | None = None

    def read(self) -> None:
        p = self.p
        while True:
            token = p.peek()
            if p.take("{"):
                self.scopes.append(_Scope(f"#{self.opened}" if self.scopes else ""))
                self.opened += 1
            elif p.take("}"):
                self.scopes.pop()
                if not self.scopes:
                    return
            elif token.text == ".loc":
                p.next()
                file, line = p.integer(), p.integer()
                self.source = (p.files.get(file, str(file)), line) if line else None
                while p.peek().line == token.line:
                    p.at += 1
            elif token.text == ".pragma":
                while not p.take(";"):
                    p.at += 1
            elif token.text == ".reg":
                self.registers()
            elif token.text in (".local", ".shared", ".param"):
                variable = p.variable()
                self.declare(variable.name)
                name = self.name(variable.name)
                self.function.variables[name] = Variable(name, variable.space, variable.align, variable.size)
            elif p.tokens[p.at + 1].text == ":":
                self.label()
            else:
                self.instruction()

    def declare(self, name: str) -> None:
        self.scopes[-1].names.add(name)

    def name(self, name: str) -> str:
        """A name as its innermost declaration has it; names that no scope declares stay as they are."""
        for scope in reversed(self.scopes):
            if scope.has(name):
                return name + scope.suffix
        return name

    def registers(self) -> None:
        p = self.p
        p.next()
        type = p.next().text[1:]
        while True:
            name = p.next().text
            if p.take("<"):
                count = p.integer()
                p.expect(">")
                self.scopes[-1].ranges[name] = count
                self.function.registers |= {self.name(f"{name}{i}"): type for i in range(count)}
            else:
                self.declare(name)
                self.function.registers[self.name(name)] = type
            if not p.take(","):
                break
        p.expect(";")

    def label(self) -> None:
        p = self.p
        name = p.next().text
        p.expect(":")
        if p.peek().text == ".branchtargets":
            p.next()
            targets = [p.next().text]
            while p.take(","):
                targets.append(p.next().text)
            p.expect(";")
            self.function.tables[name] = targets
        elif p.peek().text in (".callprototype", ".calltargets"):
            raise p.wrong("calls through pointers are not understood")
        else:
            self.function.labels[name] = len(self.function.body)

    def instruction(self) -> None:
        p = self.p
        line, guard = p.peek().line, None
        if p.take("@"):
            negated = p.take("!")
            reg = Reg(self.name(p.next().text))
            guard = Not(reg) if negated else reg
        if p.peek().kind != "word":
            raise p.wrong("expected an instruction")
        root, *mods = p.next().text.split(".")
        operands = []
        while not p.take(";"):
            operands.append(self.operand())
            p.take(",")
        body = self.function.body
        body.append(Instruction(len(body), root, tuple(mods), tuple(operands), guard, line, self.source))

    def operand(self) -> Operand:
        p = self.p
        if p.take("{"):
            return self.group("}", self.operand)
        if p.take("("):
            return self.group(")", self.operand)
        if p.take("["):
            return self.address()
        if p.take("!"):
            return Not(Reg(self.name(p.next().text)))
        first = self.plain()
        if p.take("|"):
            return Group((first, self.plain()))
        if isinstance(first, Symbol) and p.peek().text in ("+", "-"):
            return Address(first, self.offset())
        return first

    def group(self, end: str, item: Callable[[], Operand]) -> Group:
        items = []
        while not self.p.take(end):
            items.append(item())
            self.p.take(",")
        return Group(tuple(items))

    def address(self) -> Address:
        base = self.plain()
        if not isinstance(base, Reg | Symbol | Imm):
            raise self.p.wrong("an address of this form is not understood")
        offset = self.offset()
        self.p.expect("]")
        return Address(base, offset)

    def offset(self) -> int:
        if self.p.take("+") or self.p.peek().text == "-":
            return self.p.integer()
        return 0

    def plain(self) -> Operand:
        p = self.p
        if p.peek().kind == "number" or p.peek().text == "-":
            return p.number()
        if p.peek().kind != "word":
            raise p.wrong("expected an operand")
        word = p.next().text
        name = self.name(word)
        if word == "_" or name in self.function.registers:
            return Reg(name)
        if word.startswith("%") and not _SPECIAL.fullmatch(word):
            p.at -= 1
            raise p.wrong("neither a declared register nor a special one that is understood")
        return Symbol(name)


def _tokens(text: str) -> list[_Token]:
    found, line, at = [], 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise PtxError(f"PTX line {line}: cannot read '{text[at : at + 20].splitlines()[0]}'")
        at = match.end()
        if match.lastgroup in ("string", "number", "word", "mark"):
            found.append(_Token(match.group(), match.lastgroup, line))
        line += match.group().count("\n")
    end = _Token("end of text", "end", line + 1)
    return [*found, end, end]
