"""The device of a run, decided once, before it begins, by the GPUs of the machine or cluster that it uses."""

from phreg.config.run import RunConfig
from phreg.device import Choice, Gpus, choose
from phreg.errors import ConfigError


def on_its_device(config: RunConfig) -> tuple[RunConfig, Choice]:
    """The config with a number of GPUs for each actor and worker, and which device that is, and why; and what
    `precision: auto` comes to there.

    Raises `ConfigError` if a GPU is asked for and there will be none, if this machine has too few for the
    training workers, or if there is no cluster to ask.
    """
    choice = choose(config.wanted_device, lambda: _enough(config, _gpus_of(config.ray_address)))
    return _on(config, choice)


def _on(config: RunConfig, choice: Choice) -> tuple[RunConfig, Choice]:
    found = config.on(choice.device)
    names = ["the teacher", *(student.name for student in config.students)]
    asked, given = _precisions(config), _precisions(found)
    chosen = [f"{given[i]} for {name}" for i, name in enumerate(names) if asked[i] == "auto"]
    words = f"; precision auto: {', '.join(chosen)}" if chosen else ""
    return found, Choice(choice.device, choice.why + words)


def _precisions(config: RunConfig) -> list[str]:
    return [config.teacher.precision, *(student.precision for student in config.students)]


def planned_device(config: RunConfig) -> tuple[RunConfig, Choice]:
    """As `on_its_device`; what would refuse a run from here refuses no plan, and is the reason told."""
    try:
        return on_its_device(config)
    except ConfigError as error:
        device = "cuda" if config.wanted_device == "cuda" else "cpu"
        return _on(config, Choice(device, f"a run from here would end: {error.problem}; {error.found}"))


def _gpus_of(address: str | None) -> Gpus:
    from phreg.execution.gpus import gpus_of  # only here: a plan is made without Ray, too

    return gpus_of(address)


def _enough(config: RunConfig, there: Gpus) -> Gpus:
    """Known now, and not only when the targets are made and the first student is to begin."""
    workers = config.training.workers
    if config.training.gpus_per_worker is None and 0 < there.count < workers and not there.may_come:
        raise ConfigError(
            f"There are too few GPUs for {workers} training workers",
            expected="one for each worker",
            found=there.words,
            remedy="set training.workers to as many, training.gpus_per_worker to a share, or device to cpu",
        )
    return there
