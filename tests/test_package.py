"""`import phreg`: light, and all that it names is there when it is asked for."""

import pkgutil
import subprocess
import sys

import pytest

import phreg


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_it_is_light() -> None:
    heavy = "{'torch', 'timm', 'open_clip', 'ray', 'prefect', 'numpy'}"
    assert _python(f"import phreg, sys; print({heavy} & set(sys.modules))") == "set()"


def test_a_torchvision_that_does_not_fit_is_mended_for_who_imports_phreg_first() -> None:
    """On a machine whose torchvision fits, this only says that nothing is broken."""
    assert _python("import phreg, timm, torchvision; print(torchvision.__name__)") == "torchvision"
    assert _python("import torch, phreg, torchvision; print(torchvision.__name__)") == "torchvision"


def test_the_mend_is_done_once() -> None:
    left = "[f for f in sys.meta_path if f.__class__.__module__ == 'phreg._torchvision']"
    assert _python(f"import sys, phreg; print(len({left}))") == "1"
    assert _python(f"import sys, phreg, torchvision; print({left})") == "[]"


@pytest.mark.parametrize("name", phreg.__all__)
def test_each_name_is_there_before_and_after_it_is_used(name: str) -> None:
    assert name in dir(phreg)
    assert getattr(phreg, name) is getattr(phreg, name)
    assert getattr(phreg, name).__name__ == name


def test_no_module_takes_the_place_of_a_name() -> None:
    """Importing `phreg.x` sets the attribute `x` of `phreg`, and the lazy import would never be asked."""
    modules = {module.name for module in pkgutil.iter_modules(phreg.__path__)}
    assert not modules & set(phreg.__all__)


def test_sub_packages_need_no_import_of_their_own() -> None:
    assert _python("import phreg; print(phreg.errors.ConfigError.__name__)") == "ConfigError"


def test_other_names_are_no_attributes() -> None:
    assert not hasattr(phreg, "no_such_name")
