#!/usr/bin/env python3
"""Scores a merged model with PyTorch: its accuracy on each of two tasks."""
import torch

import paretod
from make_models import data, network

MODEL = network()
POINTS, LABELS = data(seed=2)


@paretod.evaluator(objectives={"inside": "max", "left": "max"})
def score(trial):
    with paretod.merged(trial, "torch") as weights:
        MODEL.load_state_dict(weights.state_dict(), assign=True)
        with torch.no_grad():
            right = ((MODEL(POINTS) > 0) == (LABELS > 0.5)).float()
    count = len(right)
    return {name: paretod.Measured(p, stderr=(p * (1 - p) / count) ** 0.5, n=count)
            for name, p in zip(("inside", "left"), right.mean(0).tolist())}


if __name__ == "__main__":
    score.run()
