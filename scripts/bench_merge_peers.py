#!/usr/bin/env python3
"""What scripts/bench-merge asks of PyTorch and mergekit: one task a run, one line of JSON.

    bench_merge_peers.py torch MODEL...            seconds of a weighted sum by in-place additions
    bench_merge_peers.py models FOLDER SIZE        makes small Llama models: base, math, code
    bench_merge_peers.py compare A B [DENSITY BASE MODEL...]
                                                   the largest difference of two models' tensors; with
                                                   a density, but for elements whose magnitude equals
                                                   that at which the tensor's difference is cut
"""
import json
import pathlib
import sys
import time

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def additions(paths):
    """A merge as most scripts write it, on tensors that are loaded already."""
    torch.set_num_threads(1)
    models = [load_file(path) for path in paths]
    best = 1e300
    for _ in range(4):
        start = time.process_time()
        for weight in (0.3, 0.5):
            merged = {name: torch.zeros_like(tensor) for name, tensor in models[0].items()}
            for k, model in enumerate(models):
                for name, tensor in model.items():
                    merged[name].add_(tensor, alpha=weight / (k + 1))
        best = min(best, (time.process_time() - start) / 2)
    return {'seconds': best, 'version': torch.__version__}


def llama(folder, hidden):
    config = {'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', 'hidden_size': hidden,
              'intermediate_size': 2 * hidden, 'num_attention_heads': 4, 'num_key_value_heads': 4,
              'num_hidden_layers': 4, 'vocab_size': 1024, 'max_position_embeddings': 128,
              'rms_norm_eps': 1e-5, 'tie_word_embeddings': False, 'torch_dtype': 'float32'}
    shapes = {'model.embed_tokens.weight': (1024, hidden), 'lm_head.weight': (1024, hidden),
              'model.norm.weight': (hidden,)}
    for layer in range(4):
        at = f'model.layers.{layer}.'
        shapes.update({at + f'self_attn.{p}_proj.weight': (hidden, hidden) for p in 'qkvo'})
        shapes.update({at + 'mlp.gate_proj.weight': (2 * hidden, hidden),
                       at + 'mlp.up_proj.weight': (2 * hidden, hidden),
                       at + 'mlp.down_proj.weight': (hidden, 2 * hidden),
                       at + 'input_layernorm.weight': (hidden,),
                       at + 'post_attention_layernorm.weight': (hidden,)})
    base = None
    for seed, name in enumerate(('base', 'math', 'code')):
        generator = torch.Generator().manual_seed(seed)
        model = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
        if base is not None:
            model = {key: base[key] + 0.1 * tensor for key, tensor in model.items()}
        base = base or model
        target = pathlib.Path(folder) / name
        target.mkdir(parents=True, exist_ok=True)
        (target / 'config.json').write_text(json.dumps(config))
        save_file(model, target / 'model.safetensors', metadata={'format': 'pt'})
    return {'bytes': sum(4 * tensor.numel() for tensor in base.values())}


def tensors(folder):
    found = {}
    for path in pathlib.Path(folder).glob('*.safetensors'):
        with safe_open(path, 'pt') as file:
            found.update({name: file.get_tensor(name) for name in file.keys()})
    return found


def left_open(base, model, density):
    """Where a magnitude equals the least one kept, if not all that equal it can be kept: which of them
    are is up to the order in which a program finds them."""
    size = (model - base).abs()
    kept = max(1, int(density * size.numel()))
    cut = size.flatten().sort(descending=True).values[kept - 1]
    return size == cut if int((size >= cut).sum()) > kept else torch.zeros_like(size, dtype=torch.bool)


def compare(first, second, density=None, *models):
    """`models`: the base and the sources of a merge that keeps that share of each difference."""
    a, b = tensors(first), tensors(second)
    if a.keys() != b.keys():
        return {'error': f'tensors differ: {sorted(a.keys() ^ b.keys())[:3]}'}
    base, *sources = map(tensors, models) if models else [None]
    largest, opened = 0.0, 0
    for name in a:
        off = (a[name].double() - b[name].double()).abs()
        for source in sources:
            undecided = left_open(base[name], source[name], float(density))
            opened += int(undecided.sum())
            off[undecided] = 0
        largest = max(largest, float(off.max()))
    return {'largest': largest, 'open': opened}


def main():
    task, *words = sys.argv[1:]
    result = {'torch': lambda: additions(words), 'models': lambda: llama(words[0], int(words[1])),
              'compare': lambda: compare(*words)}[task]()
    print(json.dumps(result))


if __name__ == '__main__':
    main()
