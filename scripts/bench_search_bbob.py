#!/usr/bin/env python3
"""`cmaes` against pycma on sixteen functions of the BBOB family: evaluations to targets at
parallelism 1, the same instances, starts (uniform in [-4, 4]^n, sigma 2), box ([-5, 5]^n) and BIPOP
restarts.  pycma without bounds, which never meets the box, is shown beside.  In brackets: 90 % of
the ratios that chance could have made of it; where restarts decide, they are far apart.
Optuna's CMA-ES sampler stands beside them for information, in runs of few evaluations, since
its own time grows to milliseconds an evaluation; it has no restarts, so on unimodal functions only."""
import ctypes
import json
import math
import os
import pathlib
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

TARGETS = (1e-1, 1e-3, 1e-8)
SLACK = 1.1
UNIMODAL = ('sphere', 'ellipsoid', 'ellipsoid-rotated', 'discus-rotated', 'bent-cigar-rotated',
            'different-powers-rotated', 'sharp-ridge-rotated', 'rosenbrock', 'rosenbrock-rotated',
            'attractive-sector-rotated', 'step-ellipsoid-rotated')
# Where restarts decide, the medians of two sets of 11 runs differ twofold; few dimensions are cheap.
SEEDS, MANY = 11, 51
RESTARTED = {('schaffers-rotated', 5): 301, ('schaffers-rotated', 20): 101, ('schaffers-rotated', 40): MANY,
             ('sharp-ridge-rotated', 20): MANY}


def usual_seeds(function, n):
    return RESTARTED.get((function, n), MANY if n == 5 else SEEDS)


OPTUNA_DIMENSIONS, OPTUNA_SEEDS, OPTUNA_TRIALS = (5, 20), 11, 5000


def library(path):
    lib = ctypes.CDLL(path)
    lib.bbob_name.restype = ctypes.c_char_p
    lib.bbob_make.restype = ctypes.c_void_p
    lib.bbob_make.argtypes = [ctypes.c_uint, ctypes.c_uint, ctypes.c_ulonglong]
    lib.bbob_value.restype = ctypes.c_double
    lib.bbob_value.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    lib.bbob_free.argtypes = [ctypes.c_void_p]
    return lib


class Reached(Exception):
    """The last target, or the end of the budget."""


class Counted:
    """A function that remembers after how many calls it was first at each target."""

    def __init__(self, lib, function, n, seed, budget):
        self.lib, self.budget = lib, budget
        self.instance = lib.bbob_make(function, n, seed)
        self.told, self.reached = 0, [0] * len(TARGETS)

    def __call__(self, x):
        import numpy
        x = numpy.ascontiguousarray(x, dtype=float)
        found = self.lib.bbob_value(self.instance, x.ctypes.data)
        self.told += 1
        if found <= TARGETS[0]:
            for t, target in enumerate(TARGETS):
                if not self.reached[t] and found <= target:
                    self.reached[t] = self.told
        if self.reached[-1] or self.told >= self.budget:
            raise Reached
        return found

    def free(self):
        self.lib.bbob_free(self.instance)


def pycma(value, n, seed, **options):
    import cma
    import numpy
    starts = numpy.random.RandomState(seed)
    cma.fmin2(value, lambda: starts.uniform(-4, 4, n), 2.0,
              {'seed': seed, 'verbose': -9, 'maxfevals': value.budget, **options}, restarts=99, bipop=True)


def pycma_box(value, n, seed):
    pycma(value, n, seed, bounds=[-5, 5])


def optuna_cmaes(value, n, seed):
    import numpy
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = [f'x{i}' for i in range(n)]
    start = numpy.random.RandomState(seed).uniform(-4, 4, n).tolist()
    sampler = optuna.samplers.CmaEsSampler(x0=dict(zip(names, start)), sigma0=2.0, seed=seed)
    study = optuna.create_study(sampler=sampler)
    while True:
        trial = study.ask()
        study.tell(trial, value([trial.suggest_float(name, -5, 5) for name in names]))


def peer(name, path, function, n, first, last, budget):
    """Runs in the private environment: one line of counts per seed."""
    # Two of us run at once; threads for matrices this small only wait for each other.
    os.environ['OPENBLAS_NUM_THREADS'] = '1'
    import warnings
    warnings.simplefilter('ignore')
    lib = library(path)
    run = {'pycma': pycma, 'pycma-box': pycma_box, 'optuna-cmaes': optuna_cmaes}[name]
    for seed in range(first, last + 1):
        value = Counted(lib, function, n, seed, budget)
        try:
            run(value, n, seed)
        except Reached:
            pass
        value.free()
        print(*value.reached, flush=True)


def quantile(values, share):
    """Of counts, where 0 is never: nearest rank, so that never stays never."""
    ordered = sorted(value or math.inf for value in values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def measure(quick, seeds, dimensions, functions, kept):
    """Per function and dimension: name, n, and the lines of counts of ours, pycma with and without
    bounds, and Optuna."""
    from bench_support import BUILD, peers
    lib = str(BUILD / 'tests' / 'libbbob_functions.so')
    names = {f: library(lib).bbob_name(f).decode() for f in range(library(lib).bbob_count())}
    python = peers('cma', 'optuna', 'cmaes')

    def one(job):
        f, n = job
        budget = 2000 * n if quick else min(10000 * n, 100000)
        last = seeds or (5 if quick else usual_seeds(names[f], n))
        run = [str(BUILD / 'tests' / 'cmaes_bench'), str(f), str(n), '1', str(last), str(budget)]
        ours = subprocess.run(run, check=True, capture_output=True, text=True).stdout

        def theirs(name, last, budget):
            if not python:
                return []
            command = [python, __file__, '--peer', name, lib, str(f), str(n), '1', str(last), str(budget)]
            found = kept.output(command, f'{name} {names[f]} {n} {last} {budget}')
            return [line.split() for line in (found or '').splitlines()]

        shown = not quick and n in OPTUNA_DIMENSIONS and names[f] in UNIMODAL
        return (names[f], n, [line.split() for line in ours.splitlines()],
                theirs('pycma-box', last, budget),
                [] if quick else theirs('pycma', last, budget),
                theirs('optuna-cmaes', OPTUNA_SEEDS, OPTUNA_TRIALS) if shown else [])

    jobs = [(f, n) for n in dimensions for f in names if functions is None or names[f] in functions]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, jobs))


def text(values):
    return '/'.join('never' if math.isinf(q) else f'{q:.0f}'
                    for q in (quantile(values, s) for s in (0.25, 0.5, 0.75)))


def compare(ours, theirs):
    """The ratio of the medians, and whether it holds; nothing to hold where theirs does not get there."""
    a, b = quantile(ours, 0.5), quantile(theirs, 0.5) if theirs else math.inf
    if math.isinf(b):
        return None, None
    return (None, False) if math.isinf(a) else (a / b, a / b <= SLACK)


def interval(ours, theirs):
    """90 % of the ratios that as many runs drawn from these would have had (bootstrap)."""
    draw = random.Random(1)
    ratios = []
    for _ in range(400):
        a, b = (quantile(draw.choices(values, k=len(values)), 0.5) for values in (ours, theirs))
        ratios.append(a / b if math.isfinite(b) else 0.0 if math.isfinite(a) else 1.0)
    ratios.sort()
    return f'{ratios[20]:.2f} to {ratios[379]:.2f}'


def rows(quick, kept, seeds=None, dimensions=None, functions=None):
    """Rows of name, value, unit, target and holds: the ratio of median evaluations, ours to pycma's."""
    made, seconds, unbounded = [], {}, []
    for name, n, *lines in measure(quick, seeds, dimensions or ((5, 20) if quick else (5, 20, 40)),
                                   functions, kept):
        seconds.setdefault(n, []).extend(float(line[-1]) for line in lines[0])
        for t, target in enumerate(TARGETS):
            ours, theirs, free, optuna = ([int(line[t]) for line in side] for side in lines)
            ratio, holds = compare(ours, theirs)
            unbounded.append(compare(ours, free)[1])
            beside = f', without bounds {text(free)}' if free else ''
            beside += f', Optuna ({len(optuna)} runs of {OPTUNA_TRIALS}) {text(optuna)}' if optuna else ''
            likely = f' [{interval(ours, theirs)}]' if ratio else ''
            made.append({'name': f'{name} n={n} to {target:g}: ours {text(ours)}, '
                                 f'pycma {text(theirs) if theirs else "not run"}{likely}{beside}',
                         'value': ratio, 'unit': 'ratio', 'target': f'<= {SLACK:g}', 'holds': holds})
    compared = [holds for holds in unbounded if holds is not None]
    if compared:
        made.append({'name': f'of {len(compared)} medians of pycma without bounds, within {SLACK:g} times',
                     'value': sum(compared), 'unit': 'rows', 'target': '', 'holds': None})
    for n, values in sorted(seconds.items()):
        made.append({'name': f'cmaes n={n}: time per evaluation, asked, computed and told, median',
                     'value': 1e6 * quantile(values, 0.5), 'unit': 'us', 'target': '', 'holds': None})
    return made


def main():
    if sys.argv[1:2] == ['--peer']:
        return peer(*sys.argv[2:4], *map(int, sys.argv[4:]))
    from bench_support import Kept, arguments, build, keep_peers
    parser = arguments(__doc__)
    parser.add_argument('--functions', help='only these, separated by commas')
    parser.add_argument('--dimensions', help='only these, separated by commas')
    parser.add_argument('--seeds', type=int, help=f'runs per function and side (usually {SEEDS}; {MANY} and more where n is 5 or restarts decide)')
    keep_peers(parser)
    options = parser.parse_args()
    if not options.no_build:
        build('cmaes_bench')
    made = rows(options.quick, Kept(options.keep_peers), options.seeds,
                options.dimensions and [int(n) for n in options.dimensions.split(',')],
                options.functions and options.functions.split(','))
    for row in made:
        shown = '-' if row['value'] is None else f"{row['value']:.3g}"
        verdict = {True: 'holds', False: 'MISSED', None: ''}[row['holds']]
        print(f"{row['name']:<100} {shown:>8} {row['unit']:<6} {verdict}")
    compared = [row for row in made if row['holds'] is not None]
    print(f"{sum(not row['holds'] for row in compared)} of {len(compared)} targets missed")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(made, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
