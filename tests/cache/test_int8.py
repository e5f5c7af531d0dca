import numpy as np
import torch

from phreg.cache import EncodedFeatures
from phreg.cache.int8 import encode_int8
from tests.cache.examples import make_features


def relative(values: np.ndarray, decoded: np.ndarray) -> float:
    return float(((decoded - values) ** 2).sum() / (values**2).sum())


def test_standardised_channels_beat_a_plain_token_scale() -> None:
    values = make_features(8, patches=64, dim=128)
    values[..., 0] += 200  # a channel far from zero, as trained ViTs have
    values[..., 1] *= 100
    ours = relative(values, EncodedFeatures.encode(values, "int8").decode().numpy())
    scale = np.abs(values).max(axis=-1, keepdims=True) / 127
    plain = relative(values, np.rint(values / scale) * scale)
    assert ours < 5e-5
    assert ours < plain / 5


def test_a_token_has_a_scale_of_its_own() -> None:
    """One huge token (raw teachers have them) does not set the step of all others."""
    values = make_features(4, patches=64, dim=64)
    values[0, 0] *= 50
    encoded = EncodedFeatures.encode(values, "int8")
    mean, std = (encoded.arrays[name][:, None] for name in ("channel_mean", "channel_std"))
    scale = np.abs((values - mean) / std).max() / 127
    one_scale = np.rint((values - mean) / std / scale) * scale * std + mean
    ours = relative(values[1:], encoded.decode().numpy()[1:])
    assert ours < 5e-4
    assert ours < relative(values[1:], one_scale[1:]) / 5


def test_constant_and_tiny_channels_are_kept() -> None:
    values = make_features(3)
    values[..., 0] = 7.25
    values[..., 1] = 0
    values[..., 2] = 1e-42
    decoded = EncodedFeatures.encode(values, "int8").decode().numpy()
    assert np.allclose(decoded[..., 0], 7.25)
    assert (decoded[..., 1] == 0).all()
    assert np.abs(decoded[..., 2]).max() < 1e-40


def test_one_token_is_its_own_mean() -> None:
    values = make_features(1, patches=1)
    assert np.allclose(EncodedFeatures.encode(values, "int8").decode().numpy(), values, rtol=1e-6)


def test_moments_are_of_each_image_alone() -> None:
    """So that nothing waits for the shard's end, and a row is the same whatever stands beside it."""
    values = make_features(5)
    values[3] *= 40
    arrays = EncodedFeatures.encode(values, "int8").arrays
    assert np.allclose(arrays["channel_mean"], values.mean(axis=1), rtol=1e-5)
    assert np.allclose(arrays["channel_std"], values.std(axis=1), rtol=1e-5)
    assert np.abs(arrays["features"]).max(axis=-1).min() == 127  # every token uses its whole range
    for row in range(5):
        alone = EncodedFeatures.encode(values[row : row + 1], "int8").arrays
        assert all(alone[name].tobytes() == array[row : row + 1].tobytes() for name, array in arrays.items())


def test_the_batch_that_a_device_encodes_at_once_gives_the_same_bytes() -> None:
    values = torch.from_numpy(make_features(6, patches=37, dim=48))
    together, alone = encode_int8(values), [encode_int8(row) for row in values.split(1)]
    for name, tensor in together.items():
        assert torch.equal(tensor, torch.cat([row[name] for row in alone]))
