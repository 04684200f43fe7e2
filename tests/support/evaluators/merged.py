#!/usr/bin/env python3
"""Scores merged weights without numpy: their mean and largest number, over all F32 tensors.

An argument "hang" makes it wait as long as who started it lives, after it has read them; then the file's name is in the file
that the second argument names; "die" makes it end without an answer."""
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "adapters/python/src"))
import paretod  # noqa: E402

PARENT = os.getppid()


@paretod.evaluator(objectives={"mean": "min", "largest": "max"}, metrics=["tensors"], name="merged")
def score(trial):
    with paretod.merged(trial) as weights:
        numbers = [x for name in weights for x in weights.memory(name).cast("f")]
    if "die" in sys.argv:
        os._exit(3)
    if "hang" in sys.argv:
        with open(sys.argv[2], "a") as out:
            print(trial.weights, file=out)
        while os.getppid() == PARENT:
            time.sleep(0.2)
    if trial.params.get("kind") == "fail":
        raise RuntimeError("no")
    return paretod.Result({"mean": sum(numbers) / len(numbers), "largest": max(numbers)},
                          metrics={"tensors": len(weights)})


score.run()
