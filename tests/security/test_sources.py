"""Nothing in our sources unpickles, runs what it read, or unpacks archives to disk."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "phreg").rglob("*.py"), *(ROOT / "flows").rglob("*.py"), *(ROOT / "infra").rglob("*.py")]
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "pickletools",
}


def _given(call: ast.Call, name: str, value: object) -> bool:
    return any(
        keyword.arg == name and isinstance(keyword.value, ast.Constant) and keyword.value.value is value
        for keyword in call.keywords
    )


def _has(call: ast.Call, name: str) -> bool:
    return any(keyword.arg == name for keyword in call.keywords)


UNSAFE: dict[str, Callable[[ast.Call], bool]] = {
    "torch.load": lambda call: not _given(call, "weights_only", True),
    "torch.jit.load": lambda call: True,
    "torch.hub.load": lambda call: True,
    "numpy.load": lambda call: _has(call, "allow_pickle") and not _given(call, "allow_pickle", False),
    "np.load": lambda call: _has(call, "allow_pickle") and not _given(call, "allow_pickle", False),
    "pandas.read_pickle": lambda call: True,
    **{f"yaml.{name}": lambda call: True for name in ("load", "load_all", "full_load", "unsafe_load")},
    **{name: lambda call: True for name in ("eval", "exec", "compile", "__import__")},
    **{name: lambda call: True for name in ("os.system", "os.popen", "tempfile.mktemp")},
    **{f"subprocess.{name}": lambda call: _given(call, "shell", True) for name in ("run", "Popen", "call")},
    **{f"{name}.extractall": lambda call: True for name in ("tar", "archive", "file")},
}


def dangers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield f"from {node.module} import"
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in UNSAFE and UNSAFE[name](node):
                yield ast.unparse(node)[:100]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_dangerous_in_our_sources(path: Path) -> None:
    assert list(dangers(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f, Loader=yaml.Loader)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_search_finds_what_is_dangerous(source: str) -> None:
    assert list(dangers(source))


READ_ALL = """
import sys
loaded = []
sys.addaudithook(lambda event, args: loaded.append(args) if event == "pickle.find_class" else None)
from tests.security.stored import everything
loaded.clear()
for what in everything(sys.argv[1]):
    assert not loaded, (what, loaded)
    print(what, flush=True)
import pickle, collections
pickle.loads(pickle.dumps(collections.OrderedDict(a=1)))
assert loaded, "the hook hears of no pickle"
"""


def test_nothing_is_unpickled_from_storage(tmp_path: Path) -> None:
    """Python itself is asked: it tells of every class that a pickle names."""
    run = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr[-2000:]
    read = run.stdout.splitlines()
    assert read == ["shard", "targets", "checkpoint", "student", "registered", "features", "embeddings"]
