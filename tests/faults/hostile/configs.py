"""Configs that somebody wrote to harm, or by mistake: a ConfigError that names the place."""

import functools
from pathlib import Path

from tests.faults.hostile.case import Case

GOOD = """\
name: test
images: a.tar
validation: b.tar
output: runs
teacher: {model: timm/vit_tiny_patch16_224}
targets: {denoised: {}}
students: [{name: a, targets: denoised}]
"""
LEVELS = range(1, 10)
LAUGHS = "x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in LEVELS
)
MERGES = "x0: &x0 {a: 1}\n" + "".join(
    f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 9)}], b{n}: 1}}\n" for n in LEVELS
)
GRID = ", ".join(
    f"{field}: [{', '.join(map(str, range(1, 900)))}]" for field in ("seed", "registers", "epochs")
)


def case(name: str, text: str | bytes, says: str, *overrides: str, comes: str = "ConfigError") -> Case:
    return Case("config", name, functools.partial(_write, text, overrides), comes, says)


def _write(text: str | bytes, overrides: tuple[str, ...], folder: Path) -> tuple[str, tuple[str, ...]]:
    path = folder / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path), overrides


def _large(folder: Path) -> tuple[str, tuple[str, ...]]:
    """A billion characters that take no room on the disk."""
    path = folder / "run.yaml"
    with path.open("wb") as file:
        file.write(b"name: ")
        file.truncate(1_000_000_000)
    return str(path), ()


def replaced(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


CASES = (
    case("the good one", GOOD, "test", comes="used"),
    case("a byte order mark", b"\xef\xbb\xbf" + GOOD.encode(), "test", comes="used"),
    case("UTF-16", GOOD.encode("utf-16"), "test", comes="used"),
    case("aliases that explode", LAUGHS + replaced("name: test", "name: *x9"), "more than 100000 values"),
    case("merges that explode", MERGES + GOOD, "more than 100000 values"),
    case("an anchor within itself", replaced("images: a.tar", "images: &a [*a]"), "an anchor within itself"),
    case("a mapping within itself", "&a\n" + GOOD + "seed: *a\n", "an anchor within itself"),
    case("an unknown anchor", GOOD + "seed: *nothing\n", "undefined alias"),
    case("a wrong type", replaced("targets: {denoised: {}}", "targets: [1]"), "targets: "),
    case("NaN", replaced("{denoised: {}}", "{denoised: {max_shift: .nan}}"), "denoised.max_shift: "),
    case("Inf", replaced("{denoised: {}}", "{denoised: {max_shift: .inf}}"), "denoised.max_shift: "),
    case("a key twice", GOOD + "name: b\n", "'name' given twice"),
    case("a call in YAML", GOOD + "seed: !!python/object/apply:os.system ['touch canary']\n", "line 8"),
    case("an object in YAML", GOOD + "seed: !!python/object:os._wrap_close {}\n", "line 8"),
    case("a name in YAML", GOOD + "seed: !!python/name:os.system\n", "line 8"),
    case("a number of words", GOOD + "seed: !!int ''\n", "Cannot parse"),
    case("an empty date", GOOD + "seed: !!timestamp ''\n", "Cannot parse"),
    case("a date that is none", GOOD + "seed: 2001-99-99\n", "month"),
    case("100 000 brackets", GOOD + "seed: " + "[" * 100_000, "too deep"),
    case("a number of 100 000 digits", GOOD + "seed: " + "9" * 100_000 + "\n", "a number of 100000 digits"),
    case("a hex number of 100 000 digits", GOOD + "seed: 0x" + "f" * 100_000 + "\n", "a number of"),
    case("a number in base 60", GOOD + "seed: 1" + ":1" * 400_000 + "\n", "seed: .*integer"),
    case("a fraction in base 60", GOOD + "seed: 1" + ":1" * 400_000 + ".5\n", "seed: .*integer"),
    case("bytes that are not UTF-8", GOOD.encode() + b"seed: \xff\xfe\n", "Cannot parse"),
    case("a NUL", GOOD.encode() + b"seed: \0\n", "Cannot parse"),
    case("a NUL in a path", replaced("output: runs", 'output: "~\\0runs"'), "output: "),
    case("a lone surrogate", replaced("name: test", 'name: "\\ud800"'), "name: "),
    case("nothing", "", "not a mapping"),
    case("a comment", "# nothing\n", "not a mapping"),
    case("a list", "- a\n- b\n", "not a mapping"),
    case("a sentence", "just words", "not a mapping"),
    case("two documents", GOOD + "---\n" + GOOD, "another document"),
    case("a key that is a list", GOOD + "? [a, b]\n: 1\n", "unhashable"),
    case("a key that is a number", GOOD + "1: 2\n", "1: "),
    case("40 000 unknown keys", GOOD + "".join(f"k{n}: 1\n" for n in range(40_000)), "and 39980 more"),
    case("a key of 100 000 letters", GOOD + "? " + "k" * 100_000 + "\n: 1\n", "unknown key"),
    case("a grid of 700 million", replaced("{name: a, ", "{name: a, grid: {" + GRID + "}, "), "1000"),
    case("a grid of mixed keys", replaced("{name: a, ", "{1: 2, b: 2, grid: {1: [3], b: [3]}, "), "students"),
    case("a name that leaves the folder", replaced("name: test", "name: ../../etc"), "name: "),
    case("braces for 10^12", replaced("a.tar", "'a-{000000..999999}-{000000..999999}.tar'"), "too many"),
    case("an override without a place", GOOD, "names no place", "students.7.registers=4"),
    case("an override 5 000 keys deep", GOOD, "cache: ", "cache" + ".a" * 5000 + "=1"),
    case("an override with an index of 5 000 digits", GOOD, "no place", "students." + "9" * 5000 + ".seed=1"),
    case("an override with aliases", GOOD, "an anchor within itself", "seed=&a [*a]"),
    Case("config", "a billion characters", _large, "ConfigError", "too large"),
    Case("config", "an endless device", lambda folder: ("/dev/zero", ()), "ConfigError", "too large"),
    Case("config", "a folder", lambda folder: (str(folder), ()), "ConfigError", "Cannot read"),
)  # fmt: skip
