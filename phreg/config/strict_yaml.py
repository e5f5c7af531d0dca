"""YAML as configs want it: plain data of bounded size, every key once, no surprising numbers.

YAML 1.1 can say much in few bytes: aliases that repeat each other until memory ends, numbers in base 60,
keys that silently replace others, and, with other loaders than this one, code.
"""

from collections import Counter
from typing import Any

import yaml

from phreg.errors import ConfigError, hide_credentials

MAX_NODES = 100_000  # values, aliases written out; some thousand times what a config has
MAX_DIGITS = 100


def parse_yaml(raw: bytes | str, source: str) -> Any:
    """One document as plain data. Raises `ConfigError`."""
    try:
        loader = _StrictLoader(raw)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_tree(node, {}, set())
        return loader.construct_document(node)
    except Exception as error:  # PyYAML raises nearly anything where a tag is forced on another value
        raise ConfigError(f"Cannot parse {source} as YAML", found=_said(error)) from None


def _said(error: Exception) -> str:
    """What is wrong, and where. Of the text at most a word (a key, a tag, a number), of a URL no password."""
    if isinstance(error, RecursionError):
        return "values within values, too deep"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    own = isinstance(error, yaml.YAMLError | ValueError)
    said = str(getattr(error, "problem", None) or error) if own else repr(error)
    return hide_credentials(said)[:300] + where  # in this order: half of a URL would not be known as one


def _check_tree(node: yaml.Node, sizes: dict[yaml.Node, int], around: set[yaml.Node]) -> int:
    """Values in a node, its aliases written out. Raises `ConstructorError` for too many, or a key twice."""
    if node in around:
        raise _refused("an anchor within itself", node)
    if node not in sizes:
        _check_keys(node)
        around.add(node)
        sizes[node] = 1 + sum(_check_tree(inner, sizes, around) for inner in _within(node))
        around.discard(node)
    if sizes[node] > MAX_NODES:
        raise _refused(f"more than {MAX_NODES} values, aliases written out", node)
    return sizes[node]


def _check_keys(node: yaml.Node) -> None:
    """YAML would keep the last of two without a word. Told before anything is merged (`<<`): what overrides
    a merged key is given once."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    keys = Counter(key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode))
    for key, count in keys.items():
        if count > 1 and key != "<<":
            raise _refused(f"key {hide_credentials(key)[:100]!r} given twice", node)


def _within(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _refused(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader with plain numbers."""

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        """12:30 stays a string, as in YAML 1.2: to 1.1 it is 750."""
        text = str(self.construct_scalar(node))
        if ":" in text:
            return text
        if len(text) > MAX_DIGITS:
            raise _refused(f"a number of {len(text)} digits", node)
        whole = node.tag == "tag:yaml.org,2002:int"
        return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_number)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_number)
