#!/usr/bin/env python3
"""Trains a small model and two specialists of it, and writes them as Hugging Face style folders
(config.json, shards, model.safetensors.index.json): what the search in this folder merges.  Needs
torch and numpy.

The data are two tasks on the same points: "inside" a circle, and "left" of a curve."""
import json
import pathlib

import torch

HERE = pathlib.Path(__file__).resolve().parent


def network():
    return torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32),
                               torch.nn.Tanh(), torch.nn.Linear(32, 2))


def data(seed, count=2000):
    points = 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 1
    inside = (points.square().sum(1) < 0.6).float()
    left = (points[:, 0] < 0.4 * torch.sin(4 * points[:, 1])).float()
    return points, torch.stack([inside, left], 1)


def train(model, weights, steps, seed):
    points, labels = data(seed)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            model(points), labels, reduction="none").mean(0)
        optimizer.zero_grad()
        (losses * torch.tensor(weights)).sum().backward()
        optimizer.step()
    return model


def save(path, tensors):
    """A safetensors file: the header's length, the header, the numbers."""
    header, numbers = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        stored = tensor.detach().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [len(numbers), len(numbers) + len(stored)]}
        numbers += stored
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return len(numbers)


def write(model, name):
    folder = HERE / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"architectures": ["Toy"], "torch_dtype": "float32"}))
    state = model.state_dict()
    names, weight_map, size = list(state), {}, 0
    for number, part in enumerate((names[:2], names[2:]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        size += save(folder / file, {name: state[name] for name in part})
        weight_map.update({name: file for name in part})
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": weight_map}))


def main():
    torch.manual_seed(0)
    base = train(network(), [1.0, 1.0], 60, seed=1)
    write(base, "base")
    for name, weights in (("inside", [1.0, 0.0]), ("left", [0.0, 1.0])):
        specialist = network()
        specialist.load_state_dict(base.state_dict())
        write(train(specialist, weights, 300, seed=1), name)


if __name__ == "__main__":
    main()
