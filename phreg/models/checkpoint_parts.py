"""Which network of a checkpoint is meant, as training codes store them: nested, wrapped, several in a file.

A network is found by a weight that each has, such as its patch embedding: what stands before that weight's
name is where the network lies. `model` > `teacher.backbone.patch_embed.proj.weight` is
`model.teacher.backbone`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from phreg.errors import CheckpointError

# The first that ends a name is the one; a network's names begin with it. CLIP's towers keep their `visual.`.
_IMAGE = (
    "visual.trunk.patch_embed.proj.weight",
    "visual.conv1.weight",
    "radio_model.model.patch_generator.embedder.weight",
    "beit3.vision_embed.proj.weight",
    "preprocessor.patchifier.proj.weight",
    "patch_embed.projection.weight",
    "patch_embed.proj.weight",
    "embeds.proj.weight",
)
_TEXT = ("text.token_embedding.weight", "token_embedding.weight")
_BARE_TOWER = "conv1.weight"  # of CLIP's image tower alone, beside its positional embedding
_NESTED_AT_MOST = 5
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|module)\.")
_CHUNKED = re.compile(r"blocks\.(\d+)\.(\d+)\.(.+)")

Weights = dict[str, Any]


def image_part(state: Mapping[Any, Any], source: str, key: str | None = None) -> Weights:
    """The weights of the one ViT or CLIP in a checkpoint, by their names in it, and what lies beside them.

    `key` says which where there are several, for instance `teacher.backbone`; the end or the middle of the
    full name will do. Raises `CheckpointError` that lists what there is.
    """
    return _chosen(_found(state, _IMAGE), state, source, key)


def text_part(state: Mapping[Any, Any], source: str) -> Weights:
    """The weights of the one CLIP in a checkpoint that has a text tower. Raises `CheckpointError`."""
    return _chosen(_found(state, _TEXT), state, source, None)


def mappings(state: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """A dict and the dicts in it, each once, with the keys that lead there."""
    waiting: list[tuple[tuple[str, ...], Mapping[Any, Any]]] = [((), state)]
    seen = {id(state)}
    while waiting:
        path, mapping = waiting.pop(0)
        yield path, mapping
        for key, value in mapping.items():
            if isinstance(value, Mapping) and id(value) not in seen and len(path) < _NESTED_AT_MOST:
                seen.add(id(value))
                waiting.append(((*path, str(key)), value))


def _found(state: Mapping[Any, Any], anchors: tuple[str, ...]) -> dict[str, Weights]:
    found = {}
    for path, mapping in mappings(state):
        named = _unwrapped(mapping)
        for root in dict.fromkeys(
            root for name in named if (root := _root(name, named, anchors)) is not None
        ):
            inside = {name.removeprefix(root): v for name, v in named.items() if name.startswith(root)}
            if _BARE_TOWER in inside:  # as the rest of the names of CLIP's weights
                inside = {f"visual.{name}": value for name, value in inside.items()}
            found[".".join([*path, *root.split(".")[:-1]])] = _unchunked(inside)
    return found


def _unwrapped(mapping: Mapping[Any, Any]) -> Weights:
    """Names without what compiling and distributing put between their parts."""
    named = {name: value for name, value in mapping.items() if isinstance(name, str)}
    short = {_WRAPPERS.sub("", name): value for name, value in named.items()}
    return short if len(short) == len(named) else named


def _root(name: str, named: Weights, anchors: tuple[str, ...]) -> str | None:
    """What stands before a network's names, if this is the weight by which one is known."""
    if not isinstance(named[name], Tensor):
        return None
    for anchor in anchors:
        if name == anchor or name.endswith(f".{anchor}"):
            return name.removesuffix(anchor)
    root = name.removesuffix(_BARE_TOWER)
    if anchors is _IMAGE and root != name and f"{root}positional_embedding" in named:
        return root
    return None


def _unchunked(inside: Weights) -> Weights:
    """Blocks in one row, where FSDP trained them in chunks: `blocks.1.7.` is the eighth."""
    places = {(int(m[1]), int(m[2])) for name in inside if (m := _CHUNKED.fullmatch(name))}
    if not places:
        return inside
    numbered_through = len({number for _, number in places}) == len(places)
    order = {place: place[1] if numbered_through else i for i, place in enumerate(sorted(places))}
    return {
        f"blocks.{order[int(m[1]), int(m[2])]}.{m[3]}" if (m := _CHUNKED.fullmatch(name)) else name: value
        for name, value in inside.items()
    }


def _chosen(found: dict[str, Weights], state: Mapping[Any, Any], source: str, key: str | None) -> Weights:
    names = list(found)
    if key is not None:
        names = [name for name in names if name == key] or [
            name for name in names if f".{key}." in f".{name}."
        ]
    if len(names) == 1:
        return found[names[0]]
    if not found:
        raise CheckpointError(
            f"The weights at {source} do not fit: there is no ViT among them",
            expected="weights as timm, DINO, DINOv2, DINOv3, OpenAI's CLIP or open_clip name them",
            found=_contents(state),
        )
    listed = ", ".join(name or "one by itself, not nested" for name in found)
    problem = f"There are {len(found)} networks in {source}" if key is None else f"{key!r} names no network"
    example = next(iter(sorted(found, key=lambda name: "teacher" not in name and "ema" not in name)))
    raise CheckpointError(
        problem if key is None or not names else f"{key!r} names {len(names)} networks of {source}",
        expected="one" if key is None else "one of those that are there",
        found=listed,
        remedy=f"say which, for instance `checkpoint_key: {example}`" if len(found) > 1 else "",
    )


def _contents(state: Mapping[Any, Any]) -> str:
    """A few words on each of the first entries."""
    said = [f"{str(key)[:60]} ({_kind(value)})" for key, value in list(state.items())[:6]]
    more = f" and {len(state) - 6} more" if len(state) > 6 else ""
    return (", ".join(said) or "nothing") + more


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        first = next(iter(value), None)
        return f"{len(value)} entries, the first {str(first)[:60]}" if value else "empty"
    return f"{tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
