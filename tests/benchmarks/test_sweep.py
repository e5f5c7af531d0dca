"""The sweep over timm's names: which load, and why the others do not."""

import re

import pytest
import timm

from benchmarks.sweep import MODULES, PLAIN_ELSEWHERE, REASONS, as_markdown, look, sweep
from phreg.models.families import FAMILIES

OURS = {family.kind.__module__.rpartition(".")[2] for family in FAMILIES} | {"deit", "naflexvit"}
SAMPLE = (
    "vit_base_patch16_siglip_224", "vit_small_patch14_reg4_dinov2", "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224", "aimv2_large_patch14_224", "vit_so400m_patch14_reg1_tipsv2",
    "vit_base_patch32_clip_224", "vit_base_patch8_224", "vit_small_patch16_dinov3",
    "vit_pe_core_base_patch16_224",
    "eva02_tiny_patch14_224", "vit_relpos_small_patch16_224", "naflexvit_base_patch16_siglip",
    "naflexvit_base_patch16_radio_v3", "beitv2_base_patch16_224",
)  # fmt: skip


def test_every_module_of_timm_is_a_family_or_has_a_reason() -> None:
    """A new one is to be looked at, and a reason that names no module is a slip."""
    assert set(REASONS) | OURS == set(timm.list_modules())
    assert not set(REASONS) & OURS


def test_a_sample_loads_and_can_be_students() -> None:
    found = sweep(SAMPLE)
    assert [one.name for one in found if one.refused] == []
    assert [one.name for one in found if one.no_student] == [
        "vit_relpos_small_patch16_224", "beitv2_base_patch16_224",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["qwen3_vit_88m_enc", "deepseek_vit_412m"])
def test_what_is_no_family_is_refused_by_the_code_too(name: str) -> None:
    assert look(name).refused == type(timm.create_model(name)).__name__
    assert sweep([name])[0].refused == PLAIN_ELSEWHERE


def test_a_stem_of_convolutions_is_refused() -> None:
    assert "a stem of convolutions" in look("vit_tiny_r_s16_p8_224").refused


def test_the_table() -> None:
    table = as_markdown(sweep(["vit_tiny_patch16_224", "deepseek_vit_412m", "resnet18", "resnet34"]))
    assert "Of 4 architectures" in table
    assert "2 are plain stacks" in table
    assert "**1 of them load (50%)**" in table
    assert "| convolutions | 2 | `resnet` 2 |" in table
    teachers = as_markdown(sweep(["vit_tiny_patch16_224", "vit_relpos_small_patch16_224"]))
    assert "**2 of them load (100%)**, 1 of these can be students with registers" in teachers
    assert "| load, but take no registers | 1 | `vision_transformer_relpos` 1 |" in teachers


@pytest.mark.slow
def test_one_of_each_kind_of_name_loads() -> None:
    """Those that differ in sizes alone are the same code; `python -m benchmarks sweep` looks at all."""
    sizes = re.compile(r"\d+|_(tiny|small|medium|base|large|huge|giant|gigantic|so|pwee|wee)(?=_)")
    ours = [name for name, module in MODULES.items() if module in OURS]
    kinds = {sizes.sub("", name): name for name in reversed(ours)}
    found = sweep(kinds.values())
    assert len(found) > 60
    assert [one for one in found if one.refused] == []
