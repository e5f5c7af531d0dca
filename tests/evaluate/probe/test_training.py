import pytest
import torch

from phreg.config.labels import ProbeConfig
from phreg.errors import TrainingError
from phreg.evaluate.probe.heads import LinearHead
from phreg.evaluate.probe.training import batch_order, start_values, train_head


def test_every_pass_sees_every_image_once_in_full_batches() -> None:
    order = batch_order(7, ProbeConfig(steps=9, batch_size=5))
    assert [len(batch) for batch in order] == [5] * 9
    for seen in torch.cat(order).split(7)[:6]:
        assert seen.sort().values.tolist() == list(range(7))


def test_a_small_set_fills_its_batches() -> None:
    (batch,) = batch_order(2, ProbeConfig(steps=1, batch_size=6))
    assert batch.sort().values.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_seed_decides_order_and_start() -> None:
    orders = [torch.cat(batch_order(50, ProbeConfig(seed=seed))) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    heads = [LinearHead(8, 3, start_values(ProbeConfig(seed=seed))) for seed in (0, 0, 1)]
    assert torch.equal(heads[0].linear.weight, heads[1].linear.weight)
    assert not torch.equal(heads[0].linear.weight, heads[2].linear.weight)


def test_a_known_order() -> None:
    """Stored scores depend on it: if this fails, the format version of the methods' scores must rise."""
    order = batch_order(5, ProbeConfig(steps=3, batch_size=3, seed=1))
    assert [batch.tolist() for batch in order] == [[3, 0, 2], [4, 1, 2], [1, 0, 4]]


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    features, targets = torch.zeros(3, 2, 1, 1).half(), torch.zeros(3, 1, 1)
    head = LinearHead(2, 1, start_values(ProbeConfig()))
    with pytest.raises(TrainingError, match="not finite at step 1"):
        train_head(head, features, targets, lambda out, _: out.sum() / 0, ProbeConfig(steps=1))


def _square(out: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return out.square().mean()


def test_progress_is_told_to_the_last_step() -> None:
    features, targets = torch.randn(6, 2, 1, 1).half(), torch.zeros(6, 1, 1)
    head, told = LinearHead(2, 1, start_values(ProbeConfig())), []
    config = ProbeConfig(steps=4, batch_size=3)
    train_head(
        head,
        features,
        targets,
        lambda out, _: out.square().mean(),
        config,
        on_progress=lambda *at: told.append(at),
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not head.training
