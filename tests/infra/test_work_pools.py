"""The examples of job variables fit the templates of Prefect's work pools."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import prefect.server.api
import pytest

from tests.infra.entry_points import documents

VIEWS = Path(prefect.server.api.__file__).parent / "collections_data" / "views"
WORKERS = json.loads((VIEWS / "aggregate-worker-metadata.json").read_text())  # of all that Prefect makes
(POOLS,) = documents("work-pools.yaml")


@pytest.mark.parametrize("kind", ["process", "docker", "kubernetes"])
def test_job_variables_are_those_of_the_pool(kind: str) -> None:
    (worker,) = [kinds[kind] for kinds in WORKERS.values() if kind in kinds]
    variables: dict[str, Any] = worker["default_base_job_configuration"]["variables"]
    jsonschema.validate(POOLS[kind]["job_variables"], variables | {"additionalProperties": False})
    assert set(POOLS[kind]) == {"name", "job_variables"}
