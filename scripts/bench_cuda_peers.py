"""What scripts/bench-cuda compares with, on the same card: `torch MEMORY_MB` or `mergekit MEMORY_MB`.
Prints rows as the other programs of that script do."""
import json
import statistics
import sys

import torch

WARM, REPEATS = 3, 10
# Times that work is put on the stream between two events: what Python does for one run is done while
# the device is at the one before.
RUNS = 3


def row(name, value, unit, **target):
    print(json.dumps({'name': name, 'value': value, 'unit': unit, **target}), flush=True)


def seconds_of(work):
    """Median of the device time of one run, after some to warm up."""
    times = []
    for i in range(WARM + REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(RUNS):
            work()
        end.record()
        end.synchronize()
        if i >= WARM:
            times.append(start.elapsed_time(end) / 1000 / RUNS)
    return statistics.median(times)


def model(elements, seed, dtype):
    """A transformer's tensors: many small ones beside few large, about so many elements."""
    generator = torch.Generator('cuda').manual_seed(seed)
    width = 1024
    block = {'attn': (4 * width, width), 'up': (4 * width, width), 'down': (width, 4 * width),
             'norm.0': (width,), 'norm.1': (width,), 'bias': (4 * width,)}
    state = {}
    layer = 0
    while sum(t.numel() for t in state.values()) < elements:
        for name, shape in block.items():
            state[f'layer.{layer}.{name}'] = torch.randn(shape, generator=generator, device='cuda').to(dtype)
        layer += 1
    return state


def axpy(out, sources, weights):
    """The usual loop: a tensor and a source at a time."""
    for name, target in out.items():
        target.zero_()
        for weight, source in zip(weights, sources):
            target.add_(source[name], alpha=weight)


def compare(dtype, sources_count, candidates, memory, at_least_axpy):
    import paretod.cuda as cuda
    size = torch.finfo(dtype).bits // 8
    # Stacked copies of the sources have to fit too.
    elements = int(memory * 2**20 * 0.8 / size / (2 * sources_count + 2 * candidates + 2))
    elements = min(elements, 200_000_000)
    sources = [model(elements, k, dtype) for k in range(sources_count)]
    outputs = [{n: torch.empty_like(t) for n, t in sources[0].items()} for _ in range(candidates)]
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(candidates, sources_count, generator=generator)
    held = cuda.Sources(outputs[0], sources, normalize=False)
    merges = [held.candidate(row.tolist()) for row in weights]
    title = f'{str(dtype)[6:]}, K {sources_count}, P {candidates}'

    ours = seconds_of(lambda: cuda.merge_into(outputs, merges))
    name = max(sources[0], key=lambda n: sources[0][n].numel())
    expected = sum(float(w) * s[name].double() for w, s in zip(weights[0], sources))
    error = (outputs[0][name].double() - expected).norm() / expected.norm()
    assert error < (1e-6 if dtype == torch.float32 else 5e-3), f'wrong result: {error}'
    loop = seconds_of(lambda: [axpy(out, sources, row.tolist()) for out, row in zip(outputs, weights)])
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    stacked = {n: torch.stack([s[n].reshape(-1) for s in sources]) for n in sources[0]}
    on_device = weights.to('cuda', dtype)
    einsum = seconds_of(lambda: [torch.einsum('pk,kn->pn', on_device, rows) for rows in stacked.values()])
    extra = torch.cuda.max_memory_allocated() - before
    row(f'merge_into over a PyTorch loop of axpy per tensor, {title}', loop / ours, 'times', at_least=at_least_axpy)
    row(f'merge_into over torch.einsum on stacked sources, {title}', einsum / ours, 'times',
        **({'at_least': 1} if dtype == torch.float32 else {}))
    row('... memory that einsum takes besides sources and results', extra / 2**20, 'MiB')
    row('... candidates merged', candidates / ours, '1/s')


def main_torch(memory):
    torch.backends.cuda.matmul.allow_tf32 = False
    for dtype, sources, candidates, target in ((torch.float32, 8, 1, None), (torch.float32, 50, 16, 10),
                                               (torch.bfloat16, 50, 16, 10), (torch.float32, 100, 64, 10)):
        compare(dtype, sources, candidates, memory, target)
        torch.cuda.empty_cache()


def mergekit_linear(count):
    """mergekit's function of a linear merge of so many tensors, all of one weight: (name, tensors)."""
    from mergekit.merge_methods import linear
    if hasattr(linear, 'linear_merge'):  # 0.1.5: batches of one
        from mergekit.merge_methods.base import TensorBatch
        weight = torch.full((1, count), 1 / count, device='cuda')
        return lambda _, tensors: linear.linear_merge.merge_batch(
            TensorBatch(tuple(t.unsqueeze(0) for t in tensors)), weight=weight, normalize=True)[0]
    from mergekit.architecture import WeightInfo
    from mergekit.common import ImmutableMap, ModelReference
    references = [ModelReference.parse(f'model-{k}') for k in range(count)]
    parameters = ImmutableMap(data={r: ImmutableMap(data={'weight': 1 / count}) for r in references})
    # Where its tensors come from is a graph, which is not run here.
    return lambda name, tensors: linear.LinearMergeTask.model_construct(
        gather_tensors=None, tensor_parameters=parameters, normalize=True,
        weight_info=WeightInfo(name=name)).execute(dict(zip(references, tensors)))


def main_mergekit(memory):
    """mergekit's own arithmetic of a linear merge, a tensor at a time, in memory and on the GPU."""
    import paretod.cuda as cuda

    count = 8
    elements = int(memory * 2**20 * 0.8 / 2 / (3 * count))
    sources = [model(min(elements, 200_000_000), k, torch.bfloat16) for k in range(count)]
    linear = mergekit_linear(count)
    merged = {}

    def merge():
        for name in sources[0]:
            merged[name] = linear(name, [s[name] for s in sources])

    theirs = seconds_of(merge)
    output = {name: torch.empty_like(tensor) for name, tensor in sources[0].items()}
    held = cuda.Sources(output, sources)
    candidate = held.candidate([1 / count] * count)
    ours = seconds_of(lambda: cuda.merge_into(output, candidate))
    for name, tensor in output.items():
        # Versions before 0.1.5 sum in bfloat16.
        error = (tensor.float() - merged[name].float()).norm() / tensor.float().norm()
        assert error < 3e-2, f'{name} differs from mergekit by {error}'
    elements = sum(t.numel() for t in sources[0].values())
    row('mergekit, linear merge in memory, bfloat16, K 8: bytes that have to be moved over time',
        (count + 1) * 2 * elements / theirs / 1e9, 'GB/s')
    row('merge_into over mergekit, linear merge in memory, bfloat16, K 8, P 1', theirs / ours, 'times')


if __name__ == '__main__':
    {'torch': main_torch, 'mergekit': main_mergekit}[sys.argv[1]](int(sys.argv[2]))
