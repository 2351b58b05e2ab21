"""The part of YAML that a configuration needs: text, numbers, true and false, lists, and names with values.

Plain values follow the core schema of YAML 1.2: `1:30`, `yes` and `2024-01-01` are text, and so is `017`. All else
that YAML can express is refused, with the line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_TAG = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT, _MERGE = (f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "merge"))
_MOST_BYTES, _MOST_DIGITS, _DEEPEST, _MOST_VALUES = 1_000_000, 18, 20, 50_000

# How each kind of plain value is written, and the characters with which the kind begins.
_WRITTEN = {
    _NULL: (re.compile("(?:~|null|Null|NULL|)"), ["~", "n", "N", ""]),
    _BOOL: (re.compile("(?:true|True|TRUE|false|False|FALSE)"), list("tTfF")),
    _INT: (re.compile("[-+]?(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:_[0-9]{3})+)"), list("-+0123456789")),
    _FLOAT: (
        re.compile(
            r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))"
            r"|\.(?:nan|NaN|NAN)"
        ),
        list("-+0123456789."),
    ),
    _MERGE: (re.compile("<<"), ["<"]),
}


class NotYaml(ValueError):
    """A text that is no plain YAML. The error says why and in which line, and shows no value, which may be a key."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.why, self.line = why, line


class _Loader(yaml.BaseLoader):
    """Reads the structure, and gives each plain value its kind."""

    _depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NotYaml("it nests too deep", self.line + 1)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _kind, (_pattern, _first) in _WRITTEN.items():
    _Loader.add_implicit_resolver(_kind, re.compile(f"(?:{_pattern.pattern})$"), _first)


def read_yaml(path: str | Path) -> Any:
    """Return what the YAML file holds, None for an empty file.

    Raises:
        NotYaml: the file is no plain YAML, no UTF-8, or larger than 1 MB.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise NotYaml("it is larger than 1 MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotYaml("it is not UTF-8 text", content.count(b"\n", 0, error.start) + 1) from None
    return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """Return what a text of one YAML document holds.

    Raises:
        NotYaml: the text is no plain YAML.
    """
    try:
        node = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise NotYaml(_problem(error), error.problem_mark.line + 1 if error.problem_mark else None) from None
    except yaml.reader.ReaderError as error:
        raise NotYaml("a character that YAML does not allow", text.count("\n", 0, error.position) + 1) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, NotYaml):
            raise
        raise NotYaml("it cannot be read as YAML") from None
    return None if node is None else _Values().of(node)


def _problem(error: yaml.MarkedYAMLError) -> str:
    """Say what is wrong without quoting the line: a value, or the name of an alias or a tag, may be the key."""
    said = f"{error.problem or error.context}"
    if "another document" in said:
        return "it holds more than one document"
    if "occurrence" in said:
        return "an anchor comes twice"
    return re.sub(r"(alias|tag|handle|directive) .*", r"\1", said)


class _Values:
    """Values of nodes. Each use of an alias repeats its value, so all values are counted."""

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def of(self, node: Node, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise NotYaml("aliases make it endless", _line(node))
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.of(item, depth + 1) for item in node.value]
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, depth)
        raise NotYaml("a tag, which is not known here", _line(node))

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise NotYaml("a list or a mapping stands where a name is due", _line(key))
            _check_text(key)
            if key.value in own:
                raise NotYaml(f"`{key.value}` comes twice", _line(key))
            if key.tag == _MERGE:
                merged = self._merged(value, depth) | merged
            else:
                own[key.value] = self.of(value, depth + 1)
        return merged | own

    def _merged(self, value: Node, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for part in value.value if isinstance(value, SequenceNode) else [value]:
            if not isinstance(part, MappingNode):
                raise NotYaml("`<<` takes names with values", _line(part))
            merged = self.of(part, depth + 1) | merged  # the first one counts
        return merged


def _check_text(node: ScalarNode) -> None:
    if re.search("[\0\ud800-\udfff]", node.value):
        raise NotYaml("a character that is no text", _line(node))


def _scalar(node: ScalarNode) -> Any:
    text: str = node.value
    _check_text(node)
    if node.tag in (f"{_TAG}str", _MERGE):
        return text
    pattern, _ = _WRITTEN.get(node.tag, (None, None))
    if pattern is None:
        raise NotYaml("a tag, which is not known here", _line(node))
    if not pattern.fullmatch(text):
        raise NotYaml("a value does not fit its tag", _line(node))
    if node.tag == _INT:
        if len(text) > _MOST_DIGITS:
            raise NotYaml(f"a whole number of {len(text)} digits; a text of digits needs quotes", _line(node))
        return int(text)
    if node.tag == _FLOAT:
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return None if node.tag == _NULL else text.lower() == "true"


def _line(node: Node) -> int:
    line: int = node.start_mark.line
    return line + 1
