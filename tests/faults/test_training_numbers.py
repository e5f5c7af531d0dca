"""Losses that are not finite, on one worker of two: both leave the same step out."""

from pathlib import Path

import pytest
import torch
from torch import distributed

from phreg.distill.job import StudentJob
from phreg.distill.result import finished_report
from phreg.distill.skipped import SkippedStep
from phreg.distill.step import training_step
from phreg.distill.workers import Workers
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.distill.test_step import make_rows, make_state
from tests.faults.ledger import trial
from tests.faults.training import PROCESSES, changed, trained

GROUP = "Training"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    """20 crops in four shards, one of which has no finite loss."""
    return make_job(tmp_path_factory.mktemp("world"), shards=4, images=5, huge={0: (3,)}, epochs=3)


def test_a_loss_that_is_not_finite_on_one_worker_is_skipped_by_both(
    world: StudentJob, tmp_path: Path
) -> None:
    job = changed(world, {"workers": 2})
    with trial(GROUP, "a loss that is not finite on one worker of two", unit="steps"):
        both = trained(job, tmp_path)
        reports = [both.outcome(rank) for rank in range(2)]
        first, second = (report["report"]["skipped_steps"] for report in reports if report)
        assert first == second
        assert first["count"] == 3  # once an epoch
        assert all("photos-000_0003" in step["samples"] for step in first["first"])
        assert all(len(step["samples"]) == 2 for step in first["first"])  # none of the other's batch


def test_past_the_limit_both_workers_end(world: StudentJob, tmp_path: Path) -> None:
    job = changed(world, {"workers": 2, "max_skipped_steps": 1})
    with trial(GROUP, "more steps that are not finite than allowed", unit="steps"):
        both = trained(job, tmp_path)
        errors = [both.outcome(rank) for rank in range(2)]
        assert errors[0] == errors[1]
        assert errors[0] is not None
        assert "2 steps skipped" in errors[0]["error"]
        assert "photos-000_0003" in errors[0]["error"]
        assert finished_report(job, Folder(str(both.output))) is None


def test_a_skipped_step_changes_neither_weights_nor_optimiser(world: StudentJob, tmp_path: Path) -> None:
    """A good step, one whose batch is bad on one worker, and a good one, as if the bad one had not been."""
    job = changed(world, {"workers": 2})
    good, bad, other = range(2), range(2, 4), range(4, 5)
    for name, shares in {
        "with": [[good, other], [bad, other], [other, good]],
        "without": [[good, other], [other, good]],
    }.items():
        workers = [PROCESSES.Process(target=_steps, args=(r, job, shares, tmp_path / name)) for r in range(2)]
        (tmp_path / name).mkdir()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(240)
            assert worker.exitcode == 0
    states = [
        torch.load(tmp_path / name / f"{rank}.pt", weights_only=True)
        for name in ("with", "without")
        for rank in range(2)
    ]
    assert [state.pop("skipped") for state in states] == [1, 1, 0, 0]
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[name], states[0][name]) for name in state)


def _steps(rank: int, job: StudentJob, shares: list[list[range]], folder: Path) -> None:
    """In a worker: steps on these rows of the first shard; then all that a step may change is saved."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    state, store = make_state(job)
    made = []
    for rows in shares:
        batch, workers = make_rows(job, store, rows[rank]), Workers(rank, 2)
        made.append(training_step(state.student, state.optimizer, batch, job.student, workers, 1))
    moments = state.optimizer.state_dict()["state"]
    after = {f"{name}/{i}": value for i, moment in moments.items() for name, value in moment.items()}
    after |= {name: value.detach() for name, value in state.student.named_parameters()}
    skipped = sum(isinstance(outcome, SkippedStep) for outcome in made)
    torch.save({"skipped": skipped} | after, folder / f"{rank}.pt")
    distributed.destroy_process_group()
