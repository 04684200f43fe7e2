#!/usr/bin/env python3
"""`cmaes` against pycma on sixteen functions of the BBOB family: evaluations to targets at
parallelism 1, the same instances, starts (uniform in [-4, 4]^n, sigma 2) and BIPOP restarts."""
import ctypes
import json
import math
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

TARGETS = (1e-1, 1e-3, 1e-8)
SLACK = 1.1


def library(path):
    lib = ctypes.CDLL(path)
    lib.bbob_name.restype = ctypes.c_char_p
    lib.bbob_make.restype = ctypes.c_void_p
    lib.bbob_make.argtypes = [ctypes.c_uint, ctypes.c_uint, ctypes.c_ulonglong]
    lib.bbob_value.restype = ctypes.c_double
    lib.bbob_value.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    lib.bbob_free.argtypes = [ctypes.c_void_p]
    return lib


def peer(path, function, n, first, last, budget):
    """Runs in the private environment: one line of counts per seed."""
    import warnings

    import cma
    import numpy
    warnings.simplefilter('ignore')
    lib = library(path)

    class Reached(Exception):
        pass

    for seed in range(first, last + 1):
        instance = lib.bbob_make(function, n, seed)
        told, reached = 0, [0] * len(TARGETS)

        def value(x):
            nonlocal told
            x = numpy.ascontiguousarray(x, dtype=float)
            found = lib.bbob_value(instance, x.ctypes.data)
            told += 1
            if found <= TARGETS[0]:
                for t, target in enumerate(TARGETS):
                    if not reached[t] and found <= target:
                        reached[t] = told
            if reached[-1] or told >= budget:
                raise Reached
            return found

        starts = numpy.random.RandomState(seed)
        try:
            cma.fmin2(value, lambda: starts.uniform(-4, 4, n), 2.0,
                      {'seed': seed, 'verbose': -9, 'maxfevals': budget}, restarts=99, bipop=True)
        except Reached:
            pass
        lib.bbob_free(instance)
        print(*reached, flush=True)


def quantile(values, share):
    """Of counts, where 0 is never: nearest rank, so that never stays never."""
    ordered = sorted(value or math.inf for value in values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def measure(quick, our_seeds, peer_seeds, dimensions, functions=None, peer_file=None):
    from bench_support import BUILD, peers
    lib = str(BUILD / 'tests' / 'libbbob_functions.so')
    names = {f: library(lib).bbob_name(f).decode() for f in range(library(lib).bbob_count())}
    python = peers('cma')
    # What the peer needed does not change with our code; a study keeps it.
    kept = json.loads(peer_file.read_text()) if peer_file and peer_file.exists() else {}

    def one(job):
        f, n = job
        budget = 2000 * n if quick else min(10000 * n, 100000)
        run = [str(BUILD / 'tests' / 'cmaes_bench'), str(f), str(n), '1', str(our_seeds), str(budget)]
        ours = subprocess.run(run, check=True, capture_output=True, text=True).stdout
        key = f'{names[f]} {n} {peer_seeds} {budget}'
        theirs = kept.get(key)
        if theirs is None and python:
            theirs = subprocess.run(
                [python, __file__, '--peer', lib, str(f), str(n), '1', str(peer_seeds), str(budget)],
                check=True, capture_output=True, text=True).stdout
            kept[key] = theirs
        return (names[f], n, [line.split() for line in ours.splitlines()],
                [line.split() for line in (theirs or '').splitlines()])

    jobs = [(f, n) for n in dimensions for f in names if functions is None or names[f] in functions]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(one, jobs))
    if peer_file:
        peer_file.write_text(json.dumps(kept))
    return results


def rows(quick, our_seeds=None, peer_seeds=None, dimensions=None, **options):
    """Rows of name, value, unit, target and holds: the ratio of median evaluations, ours to pycma's."""
    peer_seeds = peer_seeds or (5 if quick else 11)
    our_seeds = our_seeds or peer_seeds
    made, seconds = [], {}
    for name, n, ours, theirs in measure(quick, our_seeds, peer_seeds, dimensions or ((5, 20) if quick else (5, 20, 40)),
                                         **options):
        seconds.setdefault(n, []).extend(float(line[-1]) for line in ours)
        for t, target in enumerate(TARGETS):
            mine = [int(line[t]) for line in ours]
            other = [int(line[t]) for line in theirs]
            a, b = quantile(mine, 0.5), quantile(other, 0.5) if other else math.nan
            ratio = None if math.isinf(a) or not math.isfinite(b) else a / b
            # Nothing to hold where pycma's median run does not get there.
            holds = None if not math.isfinite(b) else ratio is not None and ratio <= SLACK

            def text(values):
                return '/'.join('never' if math.isinf(q) else f'{q:.0f}'
                                for q in (quantile(values, s) for s in (0.25, 0.5, 0.75)))

            made.append({'name': f'{name} n={n} to {target:g}: ours {text(mine)}, '
                                 f'pycma {text(other) if other else "not run"}',
                         'value': ratio, 'unit': 'ratio', 'target': f'<= {SLACK:g}', 'holds': holds})
    for n, values in sorted(seconds.items()):
        made.append({'name': f'cmaes n={n}: time per evaluation, asked, computed and told, median',
                     'value': 1e6 * quantile(values, 0.5), 'unit': 'us', 'target': '', 'holds': None})
    return made


def main():
    if sys.argv[1:2] == ['--peer']:
        numbers = map(int, sys.argv[3:])
        return peer(sys.argv[2], *numbers)
    from bench_support import arguments, build
    parser = arguments(__doc__)
    parser.add_argument('--functions', help='only these, separated by commas')
    parser.add_argument('--dimensions', help='only these, separated by commas')
    parser.add_argument('--seeds', type=int, help='runs of ours (default: as many as of pycma)')
    parser.add_argument('--keep-peer', metavar='FILE', type=pathlib.Path,
                        help="read pycma's counts from here, and write them, while only our side changes")
    options = parser.parse_args()
    if not options.no_build:
        build('cmaes_bench')
    made = rows(options.quick, options.seeds, functions=options.functions and options.functions.split(','),
                dimensions=options.dimensions and [int(n) for n in options.dimensions.split(',')],
                peer_file=options.keep_peer)
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
