#!/usr/bin/env python3
"""Evaluator speed: images of the digits model per second of a core, against the same network in
PyTorch with as many threads, and against the machine's own GEMM rate.  Part of
scripts/bench-autodiffusion; alone:
    scripts/bench_autodiffusion_speed.py [--quick] [--no-build] [--json FILE]
Processor seconds are counted, not wall seconds: other load on the machine does not distort them."""
import json, os, pathlib, struct, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL = ROOT / 'config/examples/data/digits/model.json'
WEIGHTS = 'ema-0.995'
STEPS, SAMPLES = 4, 2000


# ---------------------------------------------------------------- the peer, run by its own Python
def peer(threads, repeats):
    """Prints images per processor second of DDIM with the same weights, the best batch size's."""
    import torch
    from torch.nn import functional as F
    torch.set_num_threads(threads)
    kinds = {'F16': torch.float16, 'F32': torch.float32}
    data = MODEL.with_name(WEIGHTS + '.safetensors').read_bytes()
    length = struct.unpack('<Q', data[:8])[0]
    w = {}
    for name, tensor in json.loads(data[8:8 + length]).items():
        if name == '__metadata__': continue
        first, last = (8 + length + at for at in tensor['data_offsets'])
        w[name] = torch.frombuffer(bytearray(data[first:last]), dtype=kinds[tensor['dtype']]).float() \
                       .reshape(tensor['shape'])
    model = json.loads(MODEL.read_text())
    width, blocks, T = model['width'], model['blocks'], model['timesteps']
    position = torch.arange(T + 1, dtype=torch.float64) / T
    g = torch.cos((position + 0.008) / 1.008 * torch.pi / 2) ** 2
    alpha_bar = torch.cumprod(1 - torch.clamp(1 - g[1:] / g[:-1], 0, 0.999), 0).tolist()
    frequency = 10000 ** (-torch.arange(width // 2, dtype=torch.float64) / (width // 2))

    def linear(name, x): return F.linear(x, w[name + '.w'], w[name + '.b'])
    def norm(name, x): return F.layer_norm(x, (width,), w[name + '.w'], w[name + '.b'], 1e-5)

    def velocity(x, t, y):
        e = torch.cat([torch.sin(t * frequency), torch.cos(t * frequency)])[None].float()
        c = linear('t2', F.silu(linear('t1', e))) + w['cls'][y]
        h = linear('in', x)
        for b in range(blocks):
            h = h + linear(f'{b}.2', F.silu(linear(f'{b}.1', norm(f'{b}.ln', h) + c)))
        return linear('out', norm('out.ln', h))

    def sample(x, y):
        steps = [round((i + 1) * T / STEPS) - 1 for i in range(STEPS)][::-1]
        for t, after in zip(steps, steps[1:] + [None]):
            a = alpha_bar[t]
            b = 1.0 if after is None else alpha_bar[after]
            image = (a ** 0.5 * x - (1 - a) ** 0.5 * velocity(x, t, y)).clamp(-1, 1)
            x = b ** 0.5 * image + (1 - b) ** 0.5 * (x - a ** 0.5 * image) / (1 - a) ** 0.5
        return x

    best = 0
    with torch.inference_mode():
        for batch in (200, 500, SAMPLES):
            x, y = torch.randn(batch, model['pixels']), torch.arange(batch) % 10
            sample(x, y)
            for _ in range(repeats):
                start = time.process_time()
                for _ in range(SAMPLES // batch): sample(x, y)
                best = max(best, SAMPLES / (time.process_time() - start))
    print(json.dumps({'images_per_s': best, 'torch': torch.__version__}))


# ---------------------------------------------------------------- the comparison
def rows(quick, python):
    """Rows of name, value, unit, target and holds; `python` has torch, or is None."""
    repeats = 5 if quick else 30
    made = []

    def add(name, value, unit, target=None):
        made.append({'name': name, 'value': value, 'unit': unit,
                     'target': '' if target is None else f'>= {target:g}',
                     'holds': None if target is None or value is None else value >= target})

    program = ROOT / 'build/release/tests/schedule_bench'
    # Threads that spin while they wait would count as work.
    passive = {**os.environ, 'OMP_WAIT_POLICY': 'passive'}
    for threads in (1, 2):
        theirs = None
        if python:
            done = subprocess.run([python, __file__, '--peer', str(threads), str(repeats)],
                                  capture_output=True, text=True, env=passive)
            if done.returncode == 0:
                theirs = json.loads(done.stdout)
            else:
                print(done.stderr[-300:], file=sys.stderr)
        ours = subprocess.run([program, MODEL, WEIGHTS, str(STEPS), str(SAMPLES), str(threads),
                               str(repeats)], capture_output=True, text=True, check=True,
                              env=passive)
        sampled, evaluated, wall, rate, gemm = map(float, ours.stdout.split())
        what = f'digits, {STEPS} steps, {threads} thread' + 's' * (threads > 1)
        add(f'{what}: images sampled per core second', sampled, 'images/s')
        if theirs:
            add(f'{what}: the same in PyTorch {theirs["torch"]}', theirs['images_per_s'], 'images/s')
        add(f'{what}: ours against PyTorch', sampled / theirs['images_per_s'] if theirs else None,
            'times', 1)
        add(f'{what}: images evaluated (distances and errors too) per core second', evaluated,
            'images/s')
        add(f'{what}: images evaluated per second', wall, 'images/s')
        if threads == 1:
            add(f'{what}: flops while sampling, of the core\'s GEMM rate of {gemm:.0f} GFLOP/s',
                100 * rate / gemm, '%', 60)
    return made


def main():
    if sys.argv[1:2] == ['--peer']:
        return peer(*map(int, sys.argv[2:4]))
    from bench_support import Table, arguments, build, peers
    options = arguments(__doc__).parse_args()
    if not options.no_build:
        build('schedule_bench')
    table = Table()
    for row in rows(options.quick, peers('torch', 'numpy')):
        table.add_row(row)
    return table.finish(options)


if __name__ == '__main__':
    sys.exit(main())
