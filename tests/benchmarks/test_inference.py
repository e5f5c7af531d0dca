"""The benchmark of what registers cost: like is held against like."""

from benchmarks.inference import beside, ratio
from phreg import load_backbone
from tests.helpers import tiny_clip


def test_networks_differ_in_registers_alone() -> None:
    networks = beside(load_backbone(tiny_clip(), read_out="standard"), [2, 5])
    assert {network.read_out for network in networks.values()} == {"standard"}
    assert [network.vit.num_prefix_tokens for network in networks.values()] == [1, 3, 6]


def test_the_ratio_is_that_of_neighbours() -> None:
    assert ratio({"original": [1.0, 10.0, 2.0], "more": [1.1, 11.0, 5.0]}, "more") == 1.1
