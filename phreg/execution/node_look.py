"""What a node looks for on its disks, and removes again: functions that a node can run without phreg."""

from collections.abc import Callable, Mapping, Sequence


def look_function() -> Callable[..., dict[str, str]]:
    """Made in a function, so that it travels by value: the node starts it without phreg."""

    def look(
        token: str, written: Sequence[str], read: Mapping[str, Sequence[str]], reply: str, patience: float
    ) -> dict[str, str]:
        """What is not seen here, and why; in the folders that are, a reply is written."""
        import os
        import time

        def of_written(folder: str) -> str:
            with open(os.path.join(folder, token)) as file:
                file.read()
            with open(os.path.join(folder, reply), "w") as file:
                file.write(token)
            return ""

        def of_read(folder: str) -> str:
            missing = sorted(set(read[folder]) - set(os.listdir(folder)))
            more = f" and {len(missing) - 1} more" if missing[1:] else ""
            return f"it lacks {missing[0]}{more}" if missing else ""

        def reason(check: Callable[[str], str], folder: str) -> str:
            try:
                return check(folder)
            except FileNotFoundError:
                here = os.path.isdir(folder)
                return "what the driver wrote there is not seen" if here else "no such folder"
            except OSError as error:
                return f"{error.strerror}"

        deadline = time.monotonic() + patience
        while True:
            found = [(folder, reason(of_read, folder)) for folder in read]
            found += [(folder, reason(of_written, folder)) for folder in written]
            problems = {folder: why for folder, why in found if why}
            if not problems or time.monotonic() > deadline:
                return problems
            time.sleep(0.5)

    return look


def remove_function() -> Callable[..., None]:
    def remove(folders: Sequence[str], name: str) -> None:
        import contextlib
        import os

        for folder in folders:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))

    return remove
