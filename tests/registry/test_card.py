"""The model card: valid front matter, both models' metrics, and safe with odd names."""

import yaml

from phreg.config.run import StudentConfig, TargetConfig, TeacherConfig
from phreg.registry import lineage, model_card

SNIPPET = 'import timm\nmodel = timm.create_model("local-dir:.", pretrained=True).eval()'


def make(**changes: object) -> str:
    arguments: dict = {
        "model": "demo",
        "student": StudentConfig(name="reg16", targets="denoised"),
        "teacher": TeacherConfig(model="timm/vit_small_patch14_dinov2"),
        "targets": TargetConfig(),
        "steps": 1234,
        "images": 64,
        "metrics": {"outlier_rate": 0.0012, "shift_cosine_mean": 0.98765},
        "teacher_metrics": {"outlier_rate": 0.0345, "target_cosine_p50": 0.5},
        "snippet": SNIPPET,
        "lineage": lineage(
            {}, student_digest="s1", target_specs={"denoised": "t1"}, train_shards={}, validation_shards={}
        ),
        "figures": ("figures/curve.png",),
    }
    return model_card(**(arguments | changes))


def test_the_front_matter_is_what_a_hub_reads() -> None:
    _, front, body = make().split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["library_name"] == "timm"
    assert "arxiv:2505.21501" in fields["tags"]
    assert body.lstrip().startswith("# demo: reg16")


def test_it_says_how_it_was_made_and_how_good_it_is() -> None:
    card = make()
    for text in ("10 views", "15%", "1234", "`last_block`", "2505.21501", "`t1`"):
        assert text in card
    assert f"```python\n{SNIPPET}\n```" in card
    assert "| `outlier_rate` ↓ | 0.0345 | 0.0012 |" in card
    assert "| `shift_cosine_mean` ↑ |  | 0.9877 |" in card
    assert "| `target_cosine_p50` ↑ | 0.5000 |  |" in card
    assert "![curve](figures/curve.png)" in card


def test_odd_names_break_neither_the_tables_nor_the_page() -> None:
    odd = {"model": "local-dir:a|b`c\n# d"}  # as no config could name it
    card = make(teacher=TeacherConfig(model="timm/a").model_copy(update=odd))
    row = next(line for line in card.splitlines() if line.startswith("| teacher |"))
    assert row == "| teacher | `local-dir:a\\|b'c # d` |"
    assert "\n# d" not in card.replace("# demo", "")


def test_it_says_how_many_steps_were_left_out() -> None:
    assert "left out" not in make()
    assert "1234, of 16 crops per worker; 3 of them left out" in make(skipped_steps=3)
