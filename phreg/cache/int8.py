"""int8 features: channels standardised over the image, then each token scaled to its largest value.

    z = (x - mean_c) / std_c,    scale_t = max_c |z| / 127,    code = round(z / scale_t)

ViT features have a few channels that are far from zero, or far wider than the others. A plain per-token
scale is set by those and leaves few codes to the rest; standardised, all channels use the whole range. The
statistics are those of each image, so that no row waits for the shard's end: 6 KB beside 1 MB of codes.

Decoding stays finite below a fifth of float32's largest value: a code that is not 0 stands for no more than
2 |z|, so that code * scale * std is at most 2 |x - mean| <= 4 max |x|, and with the mean 5 max |x|.
Shapes: N rows, P patches, C channels.
"""

import torch
from jaxtyping import Float
from torch import Tensor

LEVELS = 127
_TINY = float(torch.finfo(torch.float32).tiny)


def encode_int8(values: Float[Tensor, "N P C"]) -> dict[str, Tensor]:
    """Codes int8 [N, P, C], scales [N, P], each image's channel mean and std [N, C], where `values` are."""
    mean = _channel_mean(values)
    standard = values - mean[:, None]
    widest = standard.abs().amax(1)
    flat = widest <= _TINY
    standard /= widest.masked_fill(flat, 1.0)[:, None]  # within [-1, 1], whose squares cannot overflow
    spread = (standard.square().sum(1) / max(values.shape[1], 1)).sqrt().masked_fill(flat, 1.0)
    standard /= spread[:, None]
    largest = standard.abs().amax(-1)
    scales = torch.where(largest > LEVELS * _TINY, largest / LEVELS, 1.0)
    codes = standard.div_(scales[..., None]).round_().clamp_(-LEVELS, LEVELS).to(torch.int8)
    std = torch.where(flat, 1.0, widest * spread)
    return {"features": codes, "scales": scales, "channel_mean": mean, "channel_std": std}


def decode_int8(tensors: dict[str, Tensor]) -> Float[Tensor, "N P C"]:
    """x = code * scale_t * std_c + mean_c, in float32."""
    standard = tensors["features"].float() * tensors["scales"][..., None]
    return standard.mul_(tensors["channel_std"][:, None]).add_(tensors["channel_mean"][:, None])


def _channel_mean(values: Float[Tensor, "N P C"]) -> Float[Tensor, "N C"]:
    """The mean over tokens, exact where all are equal; neither sum nor difference can overflow."""
    if values.shape[1] == 0:
        return values.new_zeros(values.shape[0], values.shape[2])
    first = values[:, 0]
    return first + (values - first[:, None]).div_(values.shape[1]).sum(1)
