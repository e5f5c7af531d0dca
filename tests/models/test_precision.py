"""As far as a CPU can tell: PyTorch's switches, and the variables that no switch undoes."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from phreg.cache import TargetStore
from phreg.config.run import load_config
from phreg.distill.trainer import train_student
from phreg.errors import ConfigError
from phreg.generate import TargetGenerator
from phreg.models import load_backbone
from phreg.models.precision import keep_float32
from phreg.pipeline.prepare import prepare
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.helpers import tiny_dinov2
from tests.small_run import write_config

VARIABLES = ("NVIDIA_TF32_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    yield
    monkeypatch.undo()
    keep_float32("cpu")


def loosen() -> None:
    torch.backends.fp32_precision = "tf32"
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = True


def switches() -> list[object]:
    b = torch.backends
    products = (b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn, b.mkldnn.matmul, b.mkldnn.conv, b.mkldnn.rnn)
    return [torch.get_float32_matmul_precision(), *(p.fp32_precision for p in products)]


def all_are_exact() -> bool:
    exact = switches() == ["highest", *["ieee"] * 6]
    return exact and not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_all_switches_are_set_whatever_they_were(device: str) -> None:
    for change in (loosen, lambda: None, lambda: torch.set_float32_matmul_precision("high")):
        change()
        keep_float32(device)
        assert all_are_exact()


def test_pytorch_s_own_variable_is_undone() -> None:
    """NVIDIA's containers set it."""
    code = (
        "import torch; print(torch.get_float32_matmul_precision());"
        "from phreg.models.precision import keep_float32; keep_float32('cuda');"
        "print(torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32)"
    )
    environment = {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["high", "highest", "False"], done.stderr


@pytest.mark.parametrize(
    ("device", "variable", "value"),
    [
        ("cuda", "NVIDIA_TF32_OVERRIDE", "1"),
        ("cpu", "ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
        ("cpu", "DNNL_DEFAULT_FPMATH_MODE", "ANY"),
    ],
)
def test_what_no_switch_undoes_is_refused(
    device: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        keep_float32(device)
    assert f"{variable}={value}" in caught.value.found
    assert variable in caught.value.expected


@pytest.mark.parametrize(
    ("device", "variable", "value"),
    [
        ("cuda", "NVIDIA_TF32_OVERRIDE", "0"),
        ("cpu", "NVIDIA_TF32_OVERRIDE", "1"),
        ("cpu", "ONEDNN_DEFAULT_FPMATH_MODE", "strict"),
        ("cuda", "ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
    ],
)
def test_what_does_no_harm_is_not(
    device: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    keep_float32(device)


def test_a_run_finds_it_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    config = load_config(write_config(tmp_path), ["training.gpus_per_worker=1"])
    with pytest.raises(ConfigError, match="NVIDIA_TF32_OVERRIDE=1"):
        prepare(config)
    assert not (tmp_path / "run").exists()


def _generate(folder: Path) -> None:
    job = make_job(folder)
    store = TargetStore.open(Folder(job.cache_url), job.target_digest)
    store.discard("photos-000")
    config = job.teacher
    TargetGenerator(lambda: load_backbone(config.model, image_size=config.image_size), store).generate(
        job.train[0].url
    )


def _train(folder: Path) -> None:
    train_student(make_job(folder, epochs=0.1), Folder(str(folder / "output")))


@pytest.mark.parametrize("work", [_generate, _train])
def test_targets_and_students_are_made_exactly(work: Callable[[Path], None], tmp_path: Path) -> None:
    loosen()
    work(tmp_path)
    assert all_are_exact()


def test_a_backbone_goes_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    loosen()
    backbone = load_backbone(tiny_dinov2(32))
    assert backbone.on("cpu") is backbone
    assert all_are_exact()
