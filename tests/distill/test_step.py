"""One step, alone and shared between real processes."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from phreg.cache import TargetStore
from phreg.distill.job import StudentJob
from phreg.distill.samples import Batch, join_shard, make_batch
from phreg.distill.state import TrainingState
from phreg.distill.step import StepLosses, training_step
from phreg.distill.student import build_student
from phreg.distill.workers import Workers
from phreg.errors import TrainingError
from phreg.method.certainty import certainty_weights
from phreg.method.loss import distillation_loss
from phreg.storage import Folder
from tests.distill.jobs import IMAGE_SIZE, make_job


def make_step(job: StudentJob, rows: range, workers: Workers) -> tuple[StepLosses, dict[str, torch.Tensor]]:
    """Losses, and all gradients as the optimiser saw them."""
    state, store = make_state(job)
    batch = make_rows(job, store, rows)
    losses = training_step(state.student, state.optimizer, batch, job.student, workers, 1)
    assert isinstance(losses, StepLosses)
    return losses, {n: p.grad for n, p in state.student.named_parameters() if p.grad is not None}


def make_state(job: StudentJob) -> tuple[TrainingState, TargetStore]:
    store = TargetStore.open(Folder(job.cache_url), job.target_digest)
    return TrainingState.fresh(build_student(job, store.spec), job.student), store


def make_rows(job: StudentJob, store: TargetStore, rows: range) -> Batch:
    shard = join_shard(job.train[0], store)
    with ThreadPoolExecutor(1) as pool:
        return make_batch([(shard, row) for row in rows], IMAGE_SIZE, pool)


def _step(rank: int, job: StudentJob, shares: list[range], folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=len(shares))
    losses, gradients = make_step(job, shares[rank], Workers(rank, len(shares)))
    torch.save({"losses": losses.losses, "gradients": gradients}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("family", ["dinov2", "clip"])
def test_workers_together_step_as_one_would_on_all_their_crops(family: str, tmp_path: Path) -> None:
    """Also where their batches differ in size, and where some parameters get no gradient (CLIP)."""
    job = make_job(tmp_path, family, clip_gradient=None)
    alone, gradients = make_step(job, range(6), Workers())
    multiprocessing.spawn(_step, (job, [range(2), range(2, 6)], str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["losses"] == second["losses"] == pytest.approx(alone.losses, rel=1e-4)
    assert gradients.keys() == first["gradients"].keys()
    for name, gradient in gradients.items():
        assert torch.equal(first["gradients"][name], second["gradients"][name])
        torch.testing.assert_close(first["gradients"][name], gradient, rtol=1e-3, atol=1e-6)


def test_the_gradient_is_that_of_the_mean_loss(tmp_path: Path) -> None:
    job = make_job(tmp_path, clip_gradient=None)
    losses, gradients = make_step(job, range(4), Workers())
    store = TargetStore.open(Folder(job.cache_url), job.target_digest)
    student, batch = build_student(job, store.spec), make_rows(job, store, range(4))
    target = batch.targets(torch.device("cpu"))
    loss = distillation_loss(target, student(student.normalize(batch.crops)).flatten(2).transpose(1, 2))
    loss.total.backward()
    assert losses.losses["total"] == pytest.approx(loss.total.item(), rel=1e-5)
    for name, parameter in student.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_tokens_may_weigh_by_how_sure_they_are(tmp_path: Path) -> None:
    """The step is that of the weighted loss, wherever the batch is; without the option nothing changes."""
    job = make_job(tmp_path / "sure", variance=True, weigh_by_certainty=True, clip_gradient=None)
    losses, gradients = make_step(job, range(4), Workers())
    state, store = make_state(job)
    batch, device = make_rows(job, store, range(4)), torch.device("cpu")
    weights = certainty_weights(torch.arange(16.0).expand(4, -1))
    assert torch.equal(batch.weights(device), weights)
    assert torch.equal(batch.on(device).weights(device), weights)
    predicted = state.student(state.student.normalize(batch.crops)).flatten(2).transpose(1, 2)
    loss = distillation_loss(batch.targets(device), predicted, weights)
    loss.total.backward()
    assert losses.losses["total"] == pytest.approx(loss.total.item(), rel=1e-5)
    torch.testing.assert_close(gradients["vit.pos_embed"], state.student.vit.pos_embed.grad)
    plain, _ = make_step(make_job(tmp_path / "plain"), range(4), Workers())
    evenly = dataclasses.replace(job, student=job.student.model_copy(update={"weigh_by_certainty": False}))
    assert make_step(evenly, range(4), Workers())[0] == plain != losses


def test_no_weights_without_a_variance(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="stores no variance"):
        make_state(make_job(tmp_path, weigh_by_certainty=True))


@pytest.mark.parametrize(("limit", "clipped"), [(0.01, True), (1e6, False), (None, False)])
def test_clipping_bounds_the_global_norm(limit: float | None, clipped: bool, tmp_path: Path) -> None:
    job = make_job(tmp_path, clip_gradient=limit)
    losses, gradients = make_step(job, range(4), Workers())
    norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm().item()
    assert norm == pytest.approx(limit if clipped else losses.grad_norm, rel=1e-3)
    assert losses.grad_norm > 0.01


def test_under_the_value_read_out_query_key_and_mlp_stay(tmp_path: Path) -> None:
    _, gradients = make_step(make_job(tmp_path, "clip"), range(2), Workers())
    assert "vit.blocks.1.attn.qkv.weight" in gradients  # its value third learns
    assert not [name for name in gradients if name.startswith("vit.blocks.1.mlp")]


def test_the_optimiser_is_the_papers(tmp_path: Path) -> None:
    """AdamW on what learns, with the config's rate and decay."""
    job = make_job(tmp_path, learning_rate=2e-4, weight_decay=0.03)
    state, _ = make_state(job)
    assert isinstance(state.optimizer, torch.optim.AdamW)
    (group,) = state.optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (2e-4, 0.03)
    learning = {id(p) for p in state.student.parameters() if p.requires_grad}
    assert {id(p) for p in group["params"]} == learning
