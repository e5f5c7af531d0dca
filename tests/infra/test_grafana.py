"""The dashboard asks for the metrics that there are, under the names that Ray gives them."""

import json
import re
from pathlib import Path

from phreg.execution.metrics import METRICS, TAGS

DASHBOARD = Path(__file__).resolve().parents[2] / "infra" / "grafana.json"


def test_every_metric_has_its_panel_and_every_panel_its_metric() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target for panel in dashboard["panels"] for target in panel["targets"]]
    shown = [re.fullmatch(r'ray_(\w+)\{run=~"\$run"\}', query["expr"]) for query in queries]
    assert sorted(match[1] for match in shown if match) == sorted(METRICS)
    assert len(shown) == len(METRICS)
    assert {tag for query in queries for tag in re.findall(r"{{(\w+)}}", query["legendFormat"])} == set(TAGS)
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    asked = re.fullmatch(r"label_values\(ray_(\w+), run\)", variables["run"]["query"]["query"])
    assert asked
    assert asked[1] in METRICS
