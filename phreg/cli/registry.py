"""`phreg registry list|show|verify|report|promote`."""

import argparse
import json
from typing import Any

from phreg.cli.options import add_command, human_bytes, positive, print_table
from phreg.cli.progress import showing
from phreg.cli.tables import say
from phreg.errors import RegistryError
from phreg.types import HIGHER_IS_BETTER


def add(commands: Any) -> None:
    group = commands.add_parser("registry", help="list, show, verify, report and promote registered students")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    parser = add_command(
        actions, "list", list_entries, "All registered versions with their measures.",
        "phreg registry list runs/demo/registry",
    )  # fmt: skip
    _add_registry(parser)
    parser.add_argument("model", metavar="MODEL", nargs="?", help="only this model's")
    parser = add_command(
        actions, "show", show, "One version: measures, gate, lineage and how to load it; checks its files.",
        "phreg registry show runs/demo/registry demo champion",
    )  # fmt: skip
    _add_registry(parser)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("version", metavar="VERSION", help="number or alias")
    parser = add_command(
        actions, "verify", verify, "Re-read all that is registered, and name what is damaged.",
        "phreg registry verify runs/demo/registry --heal",
    )  # fmt: skip
    _add_registry(parser)
    parser.add_argument("model", metavar="MODEL", nargs="?", help="only this model's")
    parser.add_argument(
        "--heal",
        action="store_true",
        help="put back what OUTPUT or a copy still has; remove damaged decisions: the next run decides again",
    )
    parser.add_argument("--output", help="OUTPUT of the runs (default: the folder that the registry is in)")
    parser = add_command(
        actions, "report", report, "Where a version has its report page; writes it if it is not up to date.",
        "phreg registry report runs/demo/registry demo champion",
    )  # fmt: skip
    _add_registry(parser)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("version", metavar="VERSION", help="number or alias")
    parser = add_command(
        actions, "promote", promote, "Point an alias at a version, by hand.",
        'phreg registry promote runs/demo/registry demo 2 --reason "better on our own images"',
    )  # fmt: skip
    _add_registry(parser)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("version", metavar="VERSION", type=positive)
    parser.add_argument("--alias", default="champion", help="(champion)")
    parser.add_argument("--reason", required=True, help="recorded with the promotion")


def _add_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("registry", metavar="REGISTRY", help="URL of the registry")


def open_existing(options: argparse.Namespace) -> Any:
    """A registry that is there: nothing is found in none, and a mistyped URL must not look like that."""
    from phreg.registry import Registry
    from phreg.storage import Folder

    registry = Registry(Folder(options.registry))
    if not registry.folder.children():
        raise RegistryError(
            f"There is no registry at {registry.folder.url}",
            expected="a folder for each model, as `phreg run` makes them",
            found="nothing",
            remedy="check the URL: a run's registry is OUTPUT/registry, unless its config names another",
        )
    return registry


def list_entries(options: argparse.Namespace) -> int:
    registry = open_existing(options)
    entries = registry.entries(options.model)
    aliases = {model: registry.aliases(model) for model in {entry.model for entry in entries}}
    rows = []
    for entry in entries:
        held = [name for name, p in aliases[entry.model].items() if p.version == entry.version]
        measures = {name: f"{entry.metrics[name]:.4f}" for name in HIGHER_IS_BETTER if name in entry.metrics}
        row = {"model": entry.model, "version": str(entry.version), "student": entry.record.student}
        rows.append(row | {"aliases": ", ".join(held)} | measures | {"created": entry.record.created})
    print_table(rows, f"nothing is registered in {options.registry}")
    return 0


def show(options: argparse.Namespace) -> int:
    registry = open_existing(options)
    entry = registry.entry(options.model, options.version)
    entry.verify()
    say(f"{entry.model} version {entry.version}: student {entry.record.student}, {entry.record.created}")
    size = human_bytes(sum(f.size for f in entry.record.files.values()))
    say(f"at {entry.url}, {size}, files verified\n")
    rows = [
        {
            "measure": name,
            "teacher": _number(entry.record.teacher_metrics.get(name)),
            "student": _number(value),
        }
        for name, value in entry.metrics.items()
    ]
    print_table(rows, "no measures")
    decision = registry.decision(entry)
    if decision is not None:
        say(f"\ngate for {decision.alias}: {'promoted' if decision.promoted else 'not promoted'}")
        for reason in decision.reasons:
            say(f"  {reason}")
    say("\nlineage:")
    print(json.dumps(json.loads(entry.read("lineage.json")), indent=2))
    say(f"\nload it: see {entry.folder.url_of('README.md')}")
    return 0


def verify(options: argparse.Namespace) -> int:
    from phreg.registry import verify as check
    from phreg.storage import Folder

    registry = open_existing(options)
    output = options.output or registry.folder.url.rstrip("/").rpartition("/")[0]
    with showing("verifying"):
        done = check(registry, Folder(output) / "students", options.model, options.heal)
    for damage in done.damages:
        say(damage.problem + (f"\n  healed: {damage.healed}" if damage.healed else ""))
    found, healed = len(done.damages), sum(bool(damage.healed) for damage in done.damages)
    if not done.versions and not found:
        where = f" as {options.model}" if options.model else ""
        say(f"nothing is registered{where} in {options.registry}")
        return 1
    say(f"{found} damaged, {healed} of them healed" if found else "sound", end="")
    say(f"; versions read: {done.versions}, their files: {done.files}")
    return 1 if found else 0


def report(options: argparse.Namespace) -> int:
    from phreg.pipeline.page import write_page

    registry = open_existing(options)
    with showing("writing the page"):
        page = write_page(registry, registry.entry(options.model, options.version))
    say(page.url)
    return 0


def promote(options: argparse.Namespace) -> int:
    promotion = open_existing(options).promote(options.model, options.version, options.alias, options.reason)
    before = f", before: version {promotion.previous}" if promotion.previous else ""
    say(f"{options.alias} of {options.model} is now version {promotion.version}{before}")
    return 0


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
