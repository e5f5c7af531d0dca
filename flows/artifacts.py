"""Tables and figures as Prefect artifacts. Its database gets no credentials of URLs."""

import base64
import re

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from phreg.errors import hide_credentials
from phreg.pipeline.report import RunReport, figure_urls, reuse_lines, table
from phreg.report.markdown import markdown_table
from phreg.storage import read_url

MAX_FIGURE_BYTES = 1 << 20  # figures live in Prefect's database


def publish(report: RunReport) -> None:
    """The table, what was reused, and each student's figures."""
    key = artifact_key(report.name)
    create_table_artifact(key=f"{key}-students", table=table(report), description=_describe(report))
    for outcome in report.students:
        name = artifact_key(f"{report.name}-{outcome.report.name}")
        verdict = "promoted" if outcome.registered.promoted else "not promoted"
        gate = f"**{verdict}**: {outcome.registered.reason}"
        if outcome.page is not None:
            page = hide_credentials(outcome.page.url)
            gate += f"\n\nReport page: [{page}](<{page}>)"
        create_markdown_artifact(key=f"{name}-gate", markdown=gate)
        for url in figure_urls(outcome):
            data = read_url(url)
            if len(data) <= MAX_FIGURE_BYTES:
                picture = f"data:image/png;base64,{base64.b64encode(data).decode()}"
                figure = artifact_key(url.rpartition("/")[2].removesuffix(".png"))
                create_image_artifact(
                    image_url=picture, key=f"{name}-{figure}", description=hide_credentials(url)
                )


def publish_targets(name: str, rows: list[dict[str, str]]) -> None:
    create_table_artifact(key=f"{artifact_key(name)}-targets", table=rows)


def artifact_key(name: str) -> str:
    """Prefect's keys have lower-case letters, digits and dashes only."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _describe(report: RunReport) -> str:
    rows = table(report)
    shown = markdown_table(list(rows[0]), [list(row.values()) for row in rows])
    return "\n".join([shown, "", *(f"- {line}" for line in reuse_lines(report))])
