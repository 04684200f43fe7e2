#!/usr/bin/env python3
"""Three smooth tasks over three coefficients.  A trial whose number names a file in the folder that the
argument says is not answered as long as the file is there; "NUMBER.held" then says that it waits."""
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "adapters/python/src"))
import paretod  # noqa: E402

FOLDER = pathlib.Path(sys.argv[1])
PARENT = os.getppid()


@paretod.evaluator(objectives={"a": "min", "b": "min", "c": "min"}, name="held")
def score(trial):
    gate = FOLDER / trial.id.split(":")[1]
    if gate.exists():
        gate.with_suffix(".held").touch()
        while gate.exists() and os.getppid() == PARENT:
            time.sleep(0.005)
    x = [trial.candidate[name] for name in "xyz"]
    return {task: sum((v - (0.9 if i == k else 0.1)) ** 2 * (1 + 0.3 * i) for i, v in enumerate(x))
            + 0.02 * x[k] ** 3 for k, task in enumerate("abc")}


score.run()
