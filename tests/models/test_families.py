"""What every family of networks must do, each with a tiny random one."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn

from phreg.config.run import StudentConfig
from phreg.distill.student import new_student
from phreg.errors import ModelError
from phreg.fingerprint import canonical_json
from phreg.method.view_features import view_features
from phreg.method.views import Views
from phreg.models import (
    Backbone,
    Student,
    add_registers,
    hub_files,
    load_backbone,
    load_student,
    timm_snippet,
)
from phreg.models.families import family_of
from phreg.models.read_outs import READ_OUTS
from phreg.pipeline.plan import flops_of
from tests.models.tiny_families import MADE, WITHOUT_REGISTERS, tiny

EXACT = {"rtol": 0, "atol": 1e-5}
every_family = pytest.mark.parametrize("name", MADE)


def loaded(name: str, **options: Any) -> Backbone:
    return load_backbone(tiny(name), pos_embed_resize="timm", **options)


def registers_of(name: str, number: int) -> int | None:
    return None if name.startswith(WITHOUT_REGISTERS) else number


def images_for(backbone: Backbone, rows: int = 4, columns: int = 4, seed: int = 0) -> Tensor:
    size = (rows * backbone.patch_size, columns * backbone.patch_size)
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))


def timms_features(vit: Any, images: Tensor, projects: bool) -> Tensor:
    """Patch features [B, P, C] by timm's own forward: its norms, and CLIP's projection."""
    with torch.no_grad():
        x = vit.fc_norm(vit.forward_features(images)[:, vit.num_prefix_tokens :])
        return vit.head(x) if projects else x


def flat(features: Tensor) -> Tensor:
    return features.flatten(2).transpose(1, 2)


@every_family
def test_features_are_timms_own(name: str) -> None:
    backbone = loaded(name)
    images = images_for(backbone)
    torch.testing.assert_close(
        flat(backbone(images)), timms_features(tiny(name), images, backbone.projects), **EXACT
    )
    assert backbone.projects == (MADE[name][1].get("num_classes") == 16)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@every_family
@pytest.mark.parametrize("grid", [(3, 5), (6, 4)])
def test_at_another_size_too(name: str, grid: tuple[int, int]) -> None:
    """Taken at the time of use, and once at load, against a network that timm lets change its size."""
    backbone = loaded(name)
    images = images_for(backbone, *grid)
    stock = tiny(name) if name.startswith(WITHOUT_REGISTERS) else tiny(name, dynamic_img_size=True)
    if name.startswith(WITHOUT_REGISTERS):
        stock.set_input_size(tuple(images.shape[-2:]))
    expected = timms_features(stock, images, backbone.projects)
    torch.testing.assert_close(flat(backbone(images)), expected, **EXACT)
    at_load = loaded(name, image_size=tuple(images.shape[-2:]))
    assert at_load.grid_size == grid
    torch.testing.assert_close(flat(at_load(images)), expected, **EXACT)


@every_family
@pytest.mark.parametrize("flip", [False, True])
def test_shifted_tokens_are_shifted_pixels(name: str, flip: bool) -> None:
    backbone = loaded(name)
    images, (dy, dx) = images_for(backbone), (1, -2)
    views = Views(np.array([[[dy, dx]]] * 2), np.array([[flip]] * 2))
    features, seen = view_features(backbone, images, views)
    rows, columns = np.arange(4) + dy, np.arange(4) + dx
    shifted = torch.empty_like(images)
    shifted[:] = ((1 - backbone.mean) / backbone.std)[None, :, None, None]
    p = backbone.patch_size
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            if 0 <= row < 4 and 0 <= column < 4:
                patch = images[..., row * p : (row + 1) * p, column * p : (column + 1) * p]
                shifted[..., y * p : (y + 1) * p, x * p : (x + 1) * p] = patch
    whole = backbone(shifted.flip(-1) if flip else shifted)
    whole = whole.flip(-1) if flip else whole
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            if 0 <= row < 4 and 0 <= column < 4:
                assert seen[0, 0, row * 4 + column]
                torch.testing.assert_close(features[:, 0, row * 4 + column], whole[..., y, x], **EXACT)
    assert seen.sum() == 2 * 3 * 2


@every_family
def test_every_prefix_token_is_where_timm_has_it(name: str) -> None:
    """A change of any one of them reaches the patches; DeiT's second is a register here."""
    vit, backbone = tiny(name), loaded(name)
    assert backbone.vit.num_prefix_tokens == vit.num_prefix_tokens
    images = images_for(backbone)
    before = backbone(images)
    tokens = {"cls_token": "cls_token", "reg_token": "reg_token"}
    if isinstance(vit, VisionTransformerDistilled):
        tokens = {"cls_token": "cls_token", "dist_token": "reg_token"}
    there = {theirs: ours for theirs, ours in tokens.items() if getattr(vit, theirs, None) is not None}
    assert sum(getattr(vit, theirs).shape[1] for theirs in there) == vit.num_prefix_tokens
    for theirs, ours in there.items():
        changed = copy.deepcopy(vit)
        noise = torch.randn(getattr(vit, theirs).shape, generator=torch.Generator().manual_seed(2))
        getattr(changed, theirs).data.add_(noise)
        own = loaded(name)
        getattr(own.vit, ours).data.add_(noise)
        expected = timms_features(changed, images, backbone.projects)
        torch.testing.assert_close(flat(own(images)), expected, **EXACT)
        assert not torch.allclose(own(images), before, atol=1e-4)


@every_family
def test_read_outs(name: str) -> None:
    """All where a block is plain, by our own forward and by lines of stock timm; else the standard one."""
    backbone = loaded(name)
    images, family = images_for(backbone), family_of(backbone.vit)
    if not family.is_plain(backbone.vit.blocks[-1]):
        with pytest.raises(ModelError, match="read_out: standard"):
            loaded(name, read_out="value")
        return
    found = {read_out: loaded(name, read_out=read_out)(images) for read_out in READ_OUTS}
    for read_out in READ_OUTS:
        torch.testing.assert_close(_by_snippet(name, read_out, images), flat(found[read_out]), **EXACT)
    for one in READ_OUTS:
        assert torch.isfinite(found[one]).all()
        for other in READ_OUTS:
            assert one == other or not torch.allclose(found[one], found[other], atol=1e-4)


def _by_snippet(name: str, read_out: str, images: Tensor) -> Tensor:
    """The lines of a model card, run on the network itself instead of a folder's."""
    backbone = loaded(name, read_out=read_out)
    _, _, lines = timm_snippet(backbone, ".").partition(".eval()\n")
    scope: dict[str, Any] = {"model": backbone.vit, "images": images, "torch": torch, "F": nn.functional}
    with torch.no_grad():
        exec("from timm.layers import apply_rot_embed_cat\n" + lines, scope)
    features: Tensor = scope["features"]
    return features


@every_family
def test_heads_give_the_blocks_own_attention(name: str) -> None:
    """Queries, keys and values as the read-outs take them: put together, they are timm's block."""
    backbone = loaded(name)
    family, vit = family_of(backbone.vit), backbone.vit
    block, rope = vit.blocks[-1], family.ropes(vit, (4, 4))[-1]
    if not family.is_plain(block):
        return
    x = torch.randn(2, vit.num_prefix_tokens + 16, vit.embed_dim, generator=torch.Generator().manual_seed(1))
    q, k, v = family.heads(block.attn, block.norm1(x), rope)
    bias = rope if name.startswith(WITHOUT_REGISTERS) else None
    attended = nn.functional.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2)
    attended = attended if bias is not None else block.attn.norm(attended)
    middle = x + family.scaled(block, block.attn.proj(attended))
    torch.testing.assert_close(middle + family.mlp(block, middle), family.run_block(block, x, rope), **EXACT)


@every_family
def test_a_block_before_the_last(name: str) -> None:
    backbone = loaded(name, block=-2)
    images, vit = images_for(backbone), tiny(name)
    with torch.no_grad():
        between = vit.forward_intermediates(images, indices=[0], output_fmt="NLC", intermediates_only=True)[0]
        expected = vit.fc_norm(vit.norm(between))
    torch.testing.assert_close(flat(backbone(images)), expected, **EXACT)
    assert not backbone.projects
    student = add_registers(backbone, registers_of(name, 2))
    assert len(student.vit.blocks) == 1
    with pytest.raises(ModelError, match="no block 7"):
        loaded(name, block=7)


@every_family
def test_a_teacher_can_be_a_student(name: str) -> None:
    """With nothing added it computes the same; registers come after those it has, and reach the patches."""
    backbone = loaded(name)
    images = images_for(backbone)
    same = add_registers(backbone, None, read_out="standard")
    torch.testing.assert_close(same(images), backbone(images), **EXACT)
    before = backbone.vit.num_prefix_tokens
    if registers_of(name, 3) is None:
        with pytest.raises(ModelError, match=r"no register tokens(.|\n)*registers: none"):
            add_registers(backbone, 3)
        return
    student = add_registers(backbone, 3, read_out="standard").unlock()
    assert student.vit.num_prefix_tokens == before + 3
    student.vit.reg_token.data[:, -1].mul_(-2)
    assert not torch.allclose(
        student(images), add_registers(backbone, 3, read_out="standard")(images), atol=1e-5
    )
    student(images).square().sum().backward()
    learning = [n for n, p in student.vit.named_parameters() if p.requires_grad]
    assert "reg_token" in learning
    assert ("pos_embed" in learning) == (backbone.vit.pos_embed is not None)
    assert all(p.grad is not None for n, p in student.vit.named_parameters() if p.requires_grad)


def test_registers_of_its_own_can_be_unlocked_alone() -> None:
    student = add_registers(loaded("DINOv2 with registers"), None).unlock(["registers"])
    assert [n for n, p in student.vit.named_parameters() if p.requires_grad] == ["reg_token"]


_STOCK = """
import sys
import torch
class NoPhreg:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "phreg":
            raise ModuleNotFoundError("there is no phreg here")
sys.meta_path.insert(0, NoPhreg())
if torch.version.cuda is None and torch.version.hip is None:  # torchvision of the index, a CPU's torch
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import timm
for line in open(sys.argv[1] + "/list").read().splitlines():
    folder = sys.argv[1] + "/" + line
    given = torch.load(folder + "/expected.pt", weights_only=True)
    model = timm.create_model("local-dir:" + folder, pretrained=True).eval()
    with torch.no_grad():
        x = model.fc_norm(model.forward_features(given["images"])[:, model.num_prefix_tokens:])
        x = model.head(x) if given["projects"] else x
    torch.testing.assert_close(x, given["features"], rtol=0, atol=1e-5, msg=lambda m: line + m)
print("same")
"""


def _saved(student: Student, folder: Path) -> None:
    folder.mkdir()
    for name, data in hub_files(student).items():
        (folder / name).write_bytes(data)
    images = images_for(student)
    with torch.no_grad():
        expected = {"images": images, "features": flat(student(images)), "projects": student.projects}
    torch.save(expected, folder / "expected.pt")


def test_students_of_every_family_are_stock_timm_models(tmp_path: Path) -> None:
    """In one process that has no phreg."""
    for i, name in enumerate(MADE):
        student = add_registers(loaded(name), registers_of(name, 3), read_out="standard")
        if student.vit.reg_token is not None:
            student.vit.reg_token.data.mul_(3)
        _saved(student, tmp_path / str(i))
        images = images_for(student)
        torch.testing.assert_close(load_student(str(tmp_path / str(i)))(images), student(images), **EXACT)
    (tmp_path / "list").write_text("\n".join(str(i) for i in range(len(MADE))))
    (tmp_path / "check.py").write_text(_STOCK)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "check.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=240,
    )
    assert done.stdout.strip() == "same", done.stderr[-3000:]


@every_family
def test_a_teachers_architecture_is_plain_data_that_tells_networks_apart(name: str) -> None:
    """Part of the target spec: equal for equal networks, another one for another epsilon or depth."""
    own = canonical_json(loaded(name).architecture)
    assert own == canonical_json(loaded(name).architecture)
    assert own != canonical_json(loaded(name, block=0).architecture)
    other = tiny(name)
    for module in other.modules():
        if hasattr(module, "eps"):
            module.eps = 1e-3
    assert own != canonical_json(load_backbone(other).architecture)


@every_family
def test_a_run_knows_beforehand_what_a_student_will_be(name: str) -> None:
    """As `plan` and `prepare` build it: with the config's defaults, and its dense features counted."""
    student = new_student(
        loaded(name), StudentConfig(name="test", targets="raw", registers=registers_of(name, 2))
    )
    plain = family_of(student.vit).is_plain(student.vit.blocks[-1])
    assert student.read_out == ("value" if student.projects and plain else "standard")
    assert flops_of(student) > 0
