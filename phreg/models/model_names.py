"""Names that are not known, answered with those that are like them."""

import difflib
from collections.abc import Iterable

import open_clip
import timm
from timm.models import get_arch_pretrained_cfgs

from phreg.errors import ModelError
from phreg.models.clip_directory import BUNDLED, PREFIX
from phreg.models.families import FAMILIES

FORMS = f"timm/NAME[.TAG], open_clip/NAME[:TAG], hf-hub:OWNER/NAME, local-dir:PATH, {PREFIX}PATH or {BUNDLED}"


def unknown_form(name: str) -> ModelError:
    """For a name of which it cannot be told who has such a model."""
    return ModelError(f"Cannot tell what model {name!r} is", FORMS, remedy=_meant(name, _all_names()))


def _all_names() -> list[str]:
    """What a name without its form, or with a slip in it, may have meant. Without timm's tags."""
    by_name = [f"open_clip/{name}:{tag}" for name, tag in open_clip.list_pretrained()]
    return [BUNDLED, *(f"timm/{name}" for name in _plain_vits()), *by_name]


def _plain_vits() -> list[str]:
    modules = {family.kind.__module__.rpartition(".")[2] for family in FAMILIES}
    return [name for module in sorted(modules) for name in timm.list_models(module=module)]


def _meant(name: str, known: Iterable[str]) -> str:
    """A remedy that names what is most like it, or nothing. Of timm's names without the tag."""
    by_end = {full.partition("/")[2]: full for full in known} | {full: full for full in known}
    stem, dot, tag = name.partition(".")
    near = difflib.get_close_matches(name, by_end, 1, 0.8) or difflib.get_close_matches(stem, by_end, 1, 0.8)
    if not near:
        return ""
    full = by_end[near[0]]
    return f"did you mean {full}{dot + tag if full.startswith('timm/') else ''}?"


def check_timm_name(name: str) -> None:
    """Raises `ModelError` for a name or tag that timm does not have, with those that it has."""
    stem, _, tag = name.partition(".")
    if not timm.is_model(name):
        near = timm.list_models(f"*{stem}*")[:3] or difflib.get_close_matches(
            stem, timm.list_models(), 3, 0.8
        )
        raise ModelError(
            f"timm has no model {name!r}",
            remedy=f"did you mean {near}?" if near else "see timm.list_models()",
        )
    tags = [full.partition(".")[2] for full in get_arch_pretrained_cfgs(stem)]
    if tag and tag not in tags:
        near = difflib.get_close_matches(tag, tags, 1)
        raise ModelError(
            f"timm has no weights {tag!r} for {stem}",
            expected=f"one of {tags}" if any(tags) else "no tag: it has none",
            remedy=f"did you mean timm/{stem}.{near[0]}?" if near else "",
        )
