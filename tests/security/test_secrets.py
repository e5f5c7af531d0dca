"""No secret is written anywhere: real runs that succeed and that fail, then a search of all they left."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from phreg.storage import Folder
from tests.faults.ledger import trial
from tests.processes import Started, Starter, starter
from tests.security.canaries import ENVIRONMENT, PASSWORD, files_below, guarded_server, leaks
from tests.small_run import make_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Ray's sockets want a short path."""
    folder = Path(tempfile.mkdtemp(prefix="phray-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def runs(tmp_path: Path, ray_folder: Path, s3_server: str) -> Iterator[Starter]:
    environment = ENVIRONMENT | {"RAY_TMPDIR": str(ray_folder), "TMPDIR": str(ray_folder)}
    with starter(tmp_path / "home", **environment) as this:
        yield this


def configured(folder: Path, name: str, **changes: object) -> str:
    """A config in a folder that is not searched: it is the user who put a password into it."""
    path = folder / "configs" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(make_config(folder / "world") | {"name": name} | changes))
    return str(path)


def everything(runs: Starter, ray_folder: Path, bucket: Folder) -> list[str]:
    stored = ((item.path, item.path.encode() + bucket.read(item.path)) for item in bucket.list())
    return leaks([*files_below(runs.folder, ray_folder), *stored])


def test_secrets_of_runs_that_succeed_and_that_fail(
    tmp_path: Path, runs: Starter, ray_folder: Path, s3_folder: Folder
) -> None:
    (tmp_path / "world").mkdir()
    make_config(tmp_path / "world")
    shards = tmp_path / "world" / "shards"
    with trial("security", "secrets in environment and URLs", "runs"), guarded_server(shards) as server:
        places = {
            "images": f"{server}/tiny-{{000..001}}.tar",
            "validation": f"{server}/tiny-002.tar",
            "output": s3_folder.url_of("run"),
        }
        teacher = make_config(tmp_path / "world")["teacher"]
        absent = teacher | {"checkpoint": f"{server}/no-such-weights.safetensors"}
        closed = f"http://user:{PASSWORD}@127.0.0.1:9/tiny-000.tar"
        good = runs.phreg("run", configured(tmp_path, "good", **places))
        assert good.ends(600) == 0, good.tail
        assert s3_folder.list("run/registry"), "the run wrote to the bucket"
        refused = {
            "weights that are not there": ("absent", {"teacher": absent}),
            "a server that is not there": ("closed", {"images": closed}),
            "a bucket that is not there": ("nobucket", {"output": "s3://no-such-bucket-phreg/run"}),
            "a wrong value": ("wrong", {"seed": f"{server}/seed"}),
        }
        for what, (name, changes) in refused.items():
            failed = runs.phreg("run", configured(tmp_path, name, **(places | changes)))
            assert failed.ends(600) in (1, 2), what
            assert "error: " in failed.text, failed.tail
        (shards / "tiny-001.tar").write_bytes((shards / "tiny-001.tar").read_bytes()[:3000])
        _fails(runs.phreg("run", configured(tmp_path, "broken", **places, cache=f"{places['output']}2")))
        given = [f"images={closed}", f"teacher.checkpoint={server}/no-such-weights.safetensors"]
        _fails(runs.phreg("run", configured(tmp_path, "given", **places), "--set", *given))
        _fails(runs.phreg("run", f"{server}/run.yaml"))
        assert not everything(runs, ray_folder, s3_folder)


def _fails(run: Started) -> None:
    assert run.ends(600) in (1, 2)
    assert "error: " in run.text, run.tail
