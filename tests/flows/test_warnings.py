import logging
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.logging import handlers

from flows import run  # noqa: F401  (what a Prefect worker imports)


@flow
def of_a_test() -> None: ...


def test_a_warning_is_sent_to_the_run_that_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(handlers, "emit_api_log", lambda log: sent.append(log["message"]))
    ours = logging.getLogger("phreg.cache.store")
    ours.warning("outside of any")
    its_run = FlowRun(flow_id=uuid4())
    with FlowRunContext.model_construct(flow=of_a_test, flow_run=its_run):
        ours.warning("%s was altered", "s3://me:secret@host/spec.json")
        ours.info("nobody asked")
    assert sent == ["s3://***@host/spec.json was altered"]
