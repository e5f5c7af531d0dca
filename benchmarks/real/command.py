"""`python -m benchmarks real`: what is there is skipped, so that the same command goes on where it was."""

import argparse
from pathlib import Path
from typing import get_args

import torch

from benchmarks.real.ablation import ablate
from benchmarks.real.grid import grid
from benchmarks.real.measure import measure
from benchmarks.real.names import FILES
from benchmarks.real.probes import DINOV2, probe_all
from benchmarks.real.quantised import quantise_all
from benchmarks.real.students import whole_student
from benchmarks.real.tables import results, write_tables
from benchmarks.real.trunk import Trunk
from benchmarks.real.weights import FOLDER, QUANTISED, is_there
from benchmarks.real.work import HELD_OUT, READ_OUTS, SHARDS, Work
from phreg.config.denoisers import DenoiserConfig, DvtConfig, RefinedViewsConfig, ViewsConfig
from phreg.config.stages import Precision
from phreg.method.denoising import Denoising, calibrate, denoiser_of
from phreg.models import Backbone

ALL_READ_OUTS = (*READ_OUTS, "csa", "standard")
REFINED = ("mean", "trimmed_mean", "median", "agreement")
PARTS = ("teacher", "views", "denoisers", "grid", "windows", "students", "ablation", "quantised", "probes")


class Parts(Work):
    """The parts of the benchmark."""

    def do_teacher(self) -> None:
        for read_out in ALL_READ_OUTS:
            for bench in self.benches:
                measure(f"teacher, read {read_out}", self.trunk.read(read_out), bench, self.out)

    def do_views(self) -> None:
        """On fewer images: ten passes each."""
        for read_out in READ_OUTS:
            backbone = self.trunk.read(read_out)
            measure(f"teacher, read {read_out}", backbone, self.few, self.out)
            views = Denoising.of_views()
            measure(f"teacher over ten views, read {read_out}", backbone, self.few, self.out, views)

    def do_denoisers(self) -> None:
        """Other denoisers than the mean over views, at the cost of one pass and of ten."""
        one, ten = ViewsConfig(views=1), ViewsConfig()
        refined = [RefinedViewsConfig(combine=combine) for combine in REFINED]
        registers = calibrate(self.trunk.backbone, self.photos(self.shards[0], 16), "test_time_registers")
        print(registers.model_dump_json(), flush=True)
        changed = Trunk(denoiser_of(registers).changed(self.trunk.backbone), self.trunk.precision)
        for read_out in ("naclip", "value"):
            backbone = self.trunk.read(read_out)
            measure(f"teacher, read {read_out}", backbone, self.few, self.out)
            for denoiser in (ten, *refined, DvtConfig()):
                self._denoised(backbone, denoiser, denoiser.title)
            for then in (one, ten):
                title = registers.model_copy(update={"then": then}).title
                self._denoised(changed.read(read_out), then, title)
            positions = calibrate(backbone, self.photos(self.shards[0], 32), "position_subspace")
            for then in (one, ten):
                denoiser = positions.model_copy(update={"then": then})
                self._denoised(backbone, denoiser, denoiser.title)

    def _denoised(self, backbone: Backbone, denoiser: DenoiserConfig, title: str) -> None:
        measure(f"{title}, read {backbone.read_out}", backbone, self.few, self.out, Denoising(denoiser))

    def do_grid(self) -> None:
        pairs = [(targets, trained, False) for targets in READ_OUTS for trained in READ_OUTS]
        pairs += [("naclip", trained, True) for trained in ("value", "naclip")]
        shards = [str(path) for path in self.shards]
        read_as = (*READ_OUTS, "csa")
        grid(self.trunk, self.cache, self.targets(), shards, pairs, read_as, self.benches, self.out)

    def do_windows(self) -> None:
        """The paper's protocol: teachers in one pass, the best pairs' students, teachers over ten views."""
        for bench in self.windows:
            for read_out in ALL_READ_OUTS:
                measure(f"teacher, read {read_out}", self.trunk.read(read_out), bench, self.out)
        shards, read_outs = [str(path) for path in self.shards], ("naclip", "value")
        pairs = [("naclip", trained, False) for trained in read_outs]
        grid(self.trunk, self.cache, self.targets(), shards, pairs, read_outs, self.windows, self.out)
        for bench in self.windows:
            for read_out in READ_OUTS:
                name, views = f"teacher over ten views, read {read_out}", Denoising.of_views()
                measure(name, self.trunk.read(read_out), bench, self.out, views)

    def do_students(self) -> None:
        denoised = self.targets()
        raw = self.targets(("naclip",), views=1)
        for name, digest, options in (
            ("whole naclip to value", denoised["naclip"], {}),
            ("whole naclip to naclip", denoised["naclip"], {"read_out": "naclip"}),
            ("whole naclip (1 view) to value, no registers", raw["naclip"], {"registers": "none"}),
        ):
            whole_student(name, self.job(digest, options), READ_OUTS, self.benches, self.out)

    def do_ablation(self) -> None:
        ablate(self)

    def do_quantised(self) -> None:
        quantise_all(self)

    def do_probes(self) -> None:
        probe_all(self)

    def write(self) -> None:
        tables = {"read-outs": self.benches, "views": [self.few], "windows": self.windows}
        for name, benches in tables.items():
            write_tables(results(benches, self.out), self.out / name)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks real", description=__doc__)
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        help=f"{FOLDER}/ in timm's hub layout, or {QUANTISED}; text/*.npy; for probes {DINOV2}/ likewise",
    )
    parser.add_argument("--data", type=Path, required=True, help="voc/, camvid/ and photos/; for probes nyu/")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/real"), help="results, targets, students (%(default)s)"
    )
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="bfloat16",
        help="of the teacher's forward pass; float32 is faster where a CPU has no bfloat16 (%(default)s)",
    )
    parser.add_argument(
        "--short-side",
        type=int,
        default=336,
        help="pixels of VOC's images in views and denoisers (%(default)s)",
    )
    parser.add_argument("--only", choices=PARTS, help="one part")
    options = parser.parse_args(arguments)
    wanted = [options.weights / name for name in FILES]
    wanted += [options.data / name for name in (*SHARDS, HELD_OUT, "voc/images", "camvid/test/images")]
    absent = [str(path) for path in wanted if not path.exists()]
    if not is_there(options.weights):
        absent.append(f"{options.weights / FOLDER / 'config.json'} or {options.weights / QUANTISED}")
    if absent:
        print("skipped: these are not there:", *absent, sep="\n  ")
        return 0
    torch.set_num_threads(1)  # results then do not depend on the machine's cores
    options.output.mkdir(parents=True, exist_ok=True)
    places = (path.resolve() for path in (options.weights, options.data, options.output))
    work = Parts(*places, options.precision, options.short_side)
    for part in PARTS if options.only is None else (options.only,):
        getattr(work, f"do_{part}")()
        work.write()
    return 0
