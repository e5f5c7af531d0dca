"""Linear probes on frozen features of 224 px: what of classes and depth a patch holds, without names."""

import csv
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.real.ablation import VARIANTS, ablate, student
from benchmarks.real.measure import result_path, save
from benchmarks.real.protocols import Bench, Protocol
from benchmarks.real.tables import results, write_tables
from benchmarks.real.targets import make_targets
from benchmarks.real.trunk import Trunk
from benchmarks.real.work import Work
from phreg.config.labels import LabelledSetConfig, ProbeConfig, SegmentationConfig
from phreg.config.run import TargetConfig, TeacherConfig
from phreg.distill.trainer import train_student
from phreg.evaluate.bootstrap import drawn_weights
from phreg.evaluate.datasets import LabelledImage, LabelledSet, open_set
from phreg.evaluate.probe import (
    DepthHead,
    LinearHead,
    ProbeData,
    extract_features,
    train_depth_probe,
    train_segmentation_probe,
)
from phreg.evaluate.probe.depth_scores import DepthMeasures, measure_depth
from phreg.evaluate.probe.eigen import counted_depths
from phreg.evaluate.probe.heads import resize
from phreg.evaluate.scores import ConfusionMatrix
from phreg.models import Backbone, load_student, load_teacher
from phreg.storage import Folder

DINOV2 = "dinov2-s14"  # a folder beside CLIP's, likewise
CONFIG = ProbeConfig(image_size=224, steps=300)
VOC_TRAIN = 123  # of 223 images; those that the other tables are of are among them


class Part(LabelledSet):
    """Some images of a set."""

    def __init__(self, whole: LabelledSet, places: range) -> None:
        self.name, self.classes, self.background = whole.name, whole.classes, whole.background
        self._whole, self._places = whole, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> LabelledImage:
        return self._whole[self._places[index]]


class Probe(NamedTuple):
    """Of labels, with a bench that says how the test is scored; or of depth."""

    name: str
    train: LabelledSet
    test: LabelledSet
    bench: Bench | None = None


def probes(data: Path) -> list[Probe]:
    def folder(name: str, split: str | None = None, ignore: tuple[int, ...] = ()) -> LabelledSetConfig:
        return LabelledSetConfig(kind="folder", root=str(data / name), split=split, ignore=ignore)

    def bench(name: str, config: LabelledSetConfig, min_images: int) -> Bench:
        protocol = Protocol(f"{name} probe", "", min_images)
        return Bench(f"{name}-probe", config, SegmentationConfig(), (protocol,))

    nyu = [open_set(folder("nyu", split)) for split in ("train", "test")]
    streets = [folder("camvid", split, (11,)) for split in ("train", "test")]
    animals = open_set(folder("voc"))
    parts = (range(VOC_TRAIN), range(VOC_TRAIN, len(animals)))
    return [
        Probe("nyu", *nyu),
        Probe("camvid", *map(open_set, streets), bench("CamVid", streets[1], 1)),
        Probe("voc", *(Part(animals, part) for part in parts), bench("VOC21", folder("voc"), 4)),
    ]


def probe(method: str, backbone: Backbone, wanted: Probe, out: Path) -> None:
    """Trained and scored, unless it was."""
    path = out / "results" / "nyu" / f"{method}.json"
    path = path if wanted.bench is None else result_path(out, method, wanted.bench)
    if path.exists():
        return
    started = time.monotonic()
    train = extract_features(backbone, wanted.train, CONFIG.image_size)
    test = extract_features(backbone, wanted.test, CONFIG.image_size)
    if wanted.bench is None:
        measures = depths(train_depth_probe(train, CONFIG), test)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"method": method, "measures": measures}))
        print(method, "on nyu:", *np.mean(measures, 0).round(4), flush=True)
    else:
        classes = len(wanted.train.classes)
        found = matrices(train_segmentation_probe(train, classes, CONFIG), test)
        name, seconds = wanted.bench.protocols[0].name, time.monotonic() - started
        save(path, method, wanted.bench, test.keys, {name: found}, seconds)


@torch.inference_mode()
def matrices(head: LinearHead, data: ProbeData) -> list[ConfusionMatrix]:
    """As `score_segmentation`, an image at a time."""
    classes, found = head.linear.out_channels, []
    for i, labels in enumerate(data.labels_of(classes)):
        guess = resize(head(data.features[i : i + 1].float()), labels.shape)[0].argmax(0)
        found.append(ConfusionMatrix(classes))
        found[-1].add(guess.numpy(), labels)
    return found


@torch.inference_mode()
def depths(head: DepthHead, data: ProbeData) -> list[DepthMeasures]:
    """As `score_depth`, an image at a time."""
    found = []
    for i, depth in enumerate(counted_depths(data)):
        guess = resize(head(data.features[i : i + 1].float())[None], depth.shape)[0, 0]
        found.append(measure_depth(guess.numpy(), depth, CONFIG.max_depth))
    return [one for one in found if one is not None]


def write_depths(out: Path, path: Path) -> None:
    """Means over images, and what a student's RMSE is more than its teacher's under the same read-out."""
    files = sorted((out / "results" / "nyu").glob("*.json"), reverse=True)
    read = [json.loads(file.read_text()) for file in files]
    found = {one["method"]: np.array(one["measures"]) for one in read}
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "images", *DepthMeasures._fields, "rmse more", "low", "high"])
        for method, measures in found.items():
            teacher = f"teacher, read {method.rpartition('read ')[2]}"
            other = found.get(teacher)
            alone = other is None or teacher == method
            more = () if alone else interval(measures[:, 0] - other[:, 0])
            numbers = [f"{n:.4f}" for n in (*measures.mean(0), *more)]
            writer.writerow([method, len(measures), *numbers])


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """The mean over images, and the ends of its 95 % interval by a bootstrap."""
    drawn = drawn_weights(len(values)) @ values / len(values)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def probe_all(work: Work, students: int = 2) -> None:
    """Teacher and the first students of the ablation; and the same of DINOv2, where it is there."""
    absent = [name for name in ("nyu", "camvid/train") if not (work.data / name).is_dir()]
    if absent:
        print(f"skipped, for they are not in {work.data}:", *absent, flush=True)
        return
    ablate(work, students)
    precision = work.teacher.precision
    _probe(work, "probes", "teacher", work.trunk, ("standard", "value", "naclip"))
    for variant in VARIANTS[:students]:
        _probe(work, "probes", variant.title, Trunk(student(work, variant), precision), ("value",))
    folder = work.weights / DINOV2
    if not (folder / "config.json").exists():
        print(f"skipped: {folder} is not there", flush=True)
        return
    teacher = TeacherConfig(model=f"local-dir:{folder}", image_size=224, precision=precision)
    trunk, shards = Trunk(load_teacher(teacher), precision), [work.held, *work.shards]
    digest = make_targets(teacher, trunk, ("standard",), TargetConfig(), shards, work.cache)["standard"]
    _probe(work, f"probes-{DINOV2}", "teacher", trunk, ("standard",))
    for variant in VARIANTS[:students]:
        job = work.job(digest, {"read_out": "standard", **variant.student}, teacher)
        report = train_student(job, Folder(str(work.out / f"probes-{DINOV2}")))
        trunk = Trunk(load_student(f"{report.url}/model"), precision)
        _probe(work, f"probes-{DINOV2}", variant.title, trunk, ("standard",))


def _probe(work: Work, folder: str, name: str, trunk: Trunk, read_outs: Sequence[str]) -> None:
    """All sets, and the tables of what is there by now."""
    out, wanted = work.out / folder, probes(work.data)
    for one, read_out in itertools.product(wanted, read_outs):
        probe(f"{name}, read {read_out}", trunk.read(read_out), one, out)
    write_tables(results([one.bench for one in wanted if one.bench is not None], out), out)
    write_depths(out, work.out / f"{folder}-depth.csv")
