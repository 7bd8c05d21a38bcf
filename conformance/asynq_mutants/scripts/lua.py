"""Parser for the part of Lua's grammar that the scripts use: positions of statements and expressions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from attrs import Factory, define, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKENS = re.compile(
    r"""(?P<space>\s+|--\[\[.*?\]\]|--[^\n]*)
    |(?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
    |(?P<number>0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<mark>\.\.\.|\.\.|==|~=|<=|>=|[-+*/%^\#<>=(){}\[\];:,.])""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = frozenset(
    "and break do else elseif end false for function if in local nil not or repeat return then true until "
    "while".split()
)
_BINDING = {"or": 1, "and": 2, "<": 3, ">": 3, "<=": 3, ">=": 3, "~=": 3, "==": 3, "..": 4, "+": 5, "-": 5}
_BINDING |= {"*": 6, "/": 6, "%": 6, "^": 8}
_UNARY = 7
_ENDS_BLOCK = frozenset({"end", "else", "elseif", "until", ""})

NodeKind = Literal[
    "local",
    "function",
    "assign",
    "call",
    "if",
    "while",
    "for",
    "return",
    "break",
    "condition",
    "binary",
    "unary",
    "invoke",
    "table",
    "other",
]


@frozen
class Token:
    """A token of the language."""

    text: str
    start: int
    end: int
    is_name: bool


@define
class SyntaxNode:
    """A statement or an expression, with those inside it."""

    kind: NodeKind
    start: int
    end: int
    text: str = ""
    """The operator, or the called function."""
    at: int = 0
    """Position of the operator."""
    parts: list[SyntaxNode] = Factory(list)
    """Operands, arguments, values, conditions, statements."""
    names: list[Token] = Factory(list)
    """Declared or assigned names; for a table, the names of its fields."""

    @property
    def is_statement(self) -> bool:
        """Whether this is a statement."""
        return self.kind in _STATEMENTS

    def walk(self) -> Iterator[SyntaxNode]:
        """This node and all nodes inside it."""
        yield self
        for part in self.parts:
            yield from part.walk()


_STATEMENTS = frozenset({"local", "function", "assign", "call", "if", "while", "for", "return", "break"})


def parse(source: str) -> list[SyntaxNode]:
    """The statements of a script. Raises SyntaxError for invalid Lua, and for Lua that the scripts do not
    use."""
    parser = _Parser(source)
    statements = parser.block()
    parser.expect("")
    return statements


def without_layout(source: str) -> str:
    """The tokens of a piece of Lua separated by spaces, without comments and line breaks."""
    return " ".join(token.text for token in tokens(source) if token.text)


def tokens(source: str) -> Iterator[Token]:
    """The tokens of a script; an empty one marks the end."""
    at = 0
    while at < len(source):
        found = _TOKENS.match(source, at)
        if found is None:
            raise SyntaxError(f"no Lua at {at}: {source[at : at + 20]!r}")
        if found.lastgroup != "space":
            is_name = found.lastgroup == "name" and found[0] not in _KEYWORDS
            yield Token(found[0], at, found.end(), is_name)
        at = found.end()
    yield Token("", at, at, is_name=False)


class _Parser:
    def __init__(self, source: str) -> None:
        self._tokens = list(tokens(source))
        self._at = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    @property
    def _end(self) -> int:
        return self._tokens[self._at - 1].end

    def _take(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _takes(self, text: str) -> bool:
        if self._next.text != text:
            return False
        self._at += 1
        return True

    def expect(self, text: str) -> Token:
        """Consume this token. Raises SyntaxError if the next one differs."""
        if self._next.text != text:
            raise SyntaxError(f"{text!r} expected at {self._next.start}, not {self._next.text!r}")
        return self._take()

    def block(self) -> list[SyntaxNode]:
        """Statements up to the end of their block."""
        statements = []
        while self._next.text not in _ENDS_BLOCK:
            statements.append(self._statement())
            self._takes(";")
        return statements

    def _statement(self) -> SyntaxNode:
        start, word = self._next.start, self._next.text
        parse = getattr(self, f"_{word}", None) if word in _KEYWORDS else None
        node = parse(start) if parse else self._plain(start)
        node.end = self._end
        found: SyntaxNode = node
        return found

    def _plain(self, start: int) -> SyntaxNode:
        first = self._suffixed()
        if self._next.text not in ("=", ","):
            return SyntaxNode("call", start, 0, first.text, parts=[first])
        targets = [first]
        while self._takes(","):
            targets.append(self._suffixed())
        self.expect("=")
        return SyntaxNode("assign", start, 0, parts=targets + self._expressions())

    def _local(self, start: int) -> SyntaxNode:
        self._take()
        if self._next.text == "function":
            return self._function(start)
        names = [self._take()]
        while self._takes(","):
            names.append(self._take())
        values = self._expressions() if self._takes("=") else []
        return SyntaxNode("local", start, 0, parts=values, names=names)

    def _function(self, start: int) -> SyntaxNode:
        self.expect("function")
        name = self._take()
        return SyntaxNode("function", start, 0, name.text, parts=self._body())

    def _body(self) -> list[SyntaxNode]:
        self.expect("(")
        while not self._takes(")"):
            self._take()
        statements = self.block()
        self.expect("end")
        return statements

    def _condition(self) -> SyntaxNode:
        inner = self._expression()
        return SyntaxNode("condition", inner.start, inner.end, parts=[inner])

    def _if(self, start: int) -> SyntaxNode:
        self._take()
        parts = [self._condition()]
        self.expect("then")
        parts += self.block()
        while self._takes("elseif"):
            parts.append(self._condition())
            self.expect("then")
            parts += self.block()
        if self._takes("else"):
            parts += self.block()
        self.expect("end")
        return SyntaxNode("if", start, 0, parts=parts)

    def _while(self, start: int) -> SyntaxNode:
        self._take()
        parts = [self._condition()]
        self.expect("do")
        parts += self.block()
        self.expect("end")
        return SyntaxNode("while", start, 0, parts=parts)

    def _for(self, start: int) -> SyntaxNode:
        self._take()
        while not (self._takes("=") or self._takes("in")):
            self._take()
        parts = self._expressions()
        self.expect("do")
        parts += self.block()
        self.expect("end")
        return SyntaxNode("for", start, 0, parts=parts)

    def _return(self, start: int) -> SyntaxNode:
        self._take()
        values = [] if self._next.text in _ENDS_BLOCK or self._next.text == ";" else self._expressions()
        return SyntaxNode("return", start, 0, parts=values)

    def _break(self, start: int) -> SyntaxNode:
        self._take()
        return SyntaxNode("break", start, 0)

    def _expressions(self) -> list[SyntaxNode]:
        found = [self._expression()]
        while self._takes(","):
            found.append(self._expression())
        return found

    def _expression(self, limit: int = 0) -> SyntaxNode:
        start = self._next.start
        if self._next.text in ("not", "-", "#"):
            sign = self._take()
            left = SyntaxNode("unary", start, 0, sign.text, parts=[self._expression(_UNARY)])
            left.end = self._end
        else:
            left = self._suffixed()
        while (binding := _BINDING.get(self._next.text, 0)) > limit:
            sign = self._take()
            to_the_right = sign.text in ("..", "^")
            right = self._expression(binding - 1 if to_the_right else binding)
            left = SyntaxNode("binary", start, right.end, sign.text, sign.start, [left, right])
        return left

    def _suffixed(self) -> SyntaxNode:
        start = self._next.start
        node = self._primary(start)
        while self._next.text in (".", "[", "("):
            sign = self._take().text
            if sign == ".":
                self._take()
                inner = node.parts
            elif sign == "[":
                inner = [*node.parts, self._expression()]
                self.expect("]")
            else:
                arguments = [] if self._next.text == ")" else self._expressions()
                self.expect(")")
                name = "".join(token.text for token in self._tokens if start <= token.start < node.end)
                node = SyntaxNode("invoke", start, self._end, name, parts=[*node.parts, *arguments])
                node.at = len(node.parts) - len(arguments)
                continue
            node = SyntaxNode("other", start, self._end, parts=inner)
        return node

    def _primary(self, start: int) -> SyntaxNode:
        if self._takes("("):
            inner = self._expression()
            self.expect(")")
            return SyntaxNode("other", start, self._end, parts=[inner])
        if self._next.text == "{":
            return self._table(start)
        if self._next.text == "function":
            self._take()
            body = self._body()
            return SyntaxNode("other", start, self._end, parts=body)
        word = self._take()
        if word.text in _ENDS_BLOCK or word.text in ("=", ")", "}", "]", ","):
            raise SyntaxError(f"an expression expected at {word.start}, not {word.text!r}")
        return SyntaxNode("other", start, word.end, word.text)

    def _table(self, start: int) -> SyntaxNode:
        self.expect("{")
        table = SyntaxNode("table", start, 0)
        while not self._takes("}"):
            if self._takes("["):
                self._expression()
                self.expect("]")
                self.expect("=")
            elif self._next.is_name and self._tokens[self._at + 1].text == "=":
                table.names.append(self._take())
                self.expect("=")
            table.parts.append(self._expression())
            self._takes(",")
        table.end = self._end
        return table
