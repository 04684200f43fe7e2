'''Peers of scripts/bench-map.
  run PEER LIBRARY N SEED TRIALS      points evaluated, in order, one per line; N as map_bench's
  model LIBRARY N SEED                points on stdin: processor seconds for the authors' procedure on them (SciPy's
                                      curve_fit per metric, NSGA-III on the surrogates), failed fits'''
import ctypes
import os
import sys
import time
import warnings

import numpy as np

warnings.simplefilter('ignore')


class Problem:
    def __init__(self, library, name, seed):
        self.lib, self.seed = ctypes.CDLL(library), seed
        self.lib.map_problem_make.restype = self.lib.map_problem_specialists.restype = ctypes.c_void_p
        self.lib.map_problem_make.argtypes = [ctypes.c_uint, ctypes.c_ulonglong]
        self.lib.map_problem_specialists.argtypes = [ctypes.c_char_p] * 2
        self.lib.map_problem_dimension.argtypes = [ctypes.c_void_p]
        self.lib.map_problem_measure.argtypes = [ctypes.c_void_p] * 3
        self.handle = (self.lib.map_problem_make(int(name), seed) if name.isdigit() else
                       self.lib.map_problem_specialists(name.encode(), os.environ['PARETOD_SPECIALISTS'].encode()))
        self.n = self.lib.map_problem_dimension(self.handle)
        self.seen = []

    def measured(self, x):
        x, out = np.ascontiguousarray(x, dtype=float), np.empty(self.n)
        self.lib.map_problem_measure(self.handle, x.ctypes.data, out.ctypes.data)
        self.seen.append(x.tolist())
        return out


def pymoo(problem, trials):
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem as Base
    from pymoo.optimize import minimize

    class Wrapped(Base):
        def __init__(self):
            super().__init__(n_var=problem.n, n_obj=problem.n, xl=0, xu=1)

        def _evaluate(self, x, out, *_, **__):
            out['F'] = -np.array([problem.measured(row) for row in x])

    # About five generations: with the usual 100 points there would be none.
    minimize(Wrapped(), NSGA2(pop_size=max(4, trials // 5)), ('n_eval', trials), seed=problem.seed, verbose=False)


def optuna(problem, trials, name):
    import optuna as package
    package.logging.set_verbosity(package.logging.ERROR)
    sampler = {'tpe': package.samplers.TPESampler, 'gp': package.samplers.GPSampler}[name](seed=problem.seed)
    study = package.create_study(directions=['maximize'] * problem.n, sampler=sampler)
    study.optimize(lambda trial: tuple(problem.measured([trial.suggest_float(f'c{i}', 0, 1) for i in range(problem.n)])),
                   n_trials=trials)


def terms(x):
    i, j = np.triu_indices(x.shape[1], 1)
    return np.hstack([x ** 2, x[:, i] * x[:, j], x, np.ones((len(x), 1))])


def procedure(problem, points):
    """As published: Levenberg-Marquardt in metric space, all coefficients from one."""
    from pymoo.algorithms.moo.nsga3 import NSGA3
    from pymoo.core.problem import Problem as Base
    from pymoo.optimize import minimize
    from pymoo.util.ref_dirs import get_reference_directions
    from scipy.optimize import curve_fit
    sigmoid = lambda eta: 1 / (1 + np.exp(-np.clip(eta, -500, 500)))
    y = np.array([problem.measured(x) for x in points])
    start, failed, beta = time.process_time(), 0, []
    design = terms(points)
    for k in range(problem.n):
        try:
            found = curve_fit(lambda _, *b: sigmoid(design @ np.array(b)), None, y[:, k], p0=np.ones(design.shape[1]))[0]
        except (RuntimeError, ValueError, TypeError):
            failed, found = failed + 1, np.zeros(design.shape[1])
        beta.append(found)
    beta = np.array(beta).T

    class Surrogate(Base):
        def __init__(self):
            super().__init__(n_var=problem.n, n_obj=problem.n, xl=0, xu=1)

        def _evaluate(self, x, out, *_, **__):
            out['F'] = -sigmoid(terms(x) @ beta)
    layers = np.vstack([get_reference_directions('das-dennis', problem.n, n_partitions=2, scaling=1.0),
                        get_reference_directions('das-dennis', problem.n, n_partitions=1, scaling=0.5)])
    minimize(Surrogate(), NSGA3(layers, pop_size=100), ('n_gen', 25), seed=1, verbose=False)
    return time.process_time() - start, failed


def main():
    if sys.argv[1] == 'model':
        problem = Problem(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        points = np.array([[float(v) for v in line.split()] for line in sys.stdin])
        procedure(problem, points)  # what is loaded on first use
        print(*procedure(problem, points))
        return
    peer, library, n, seed, trials = sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
    problem = Problem(library, n, seed)
    if peer == 'pymoo-nsga2':
        pymoo(problem, trials)
    else:
        optuna(problem, trials, peer.split('-')[1])
    for x in problem.seen[:trials]:
        print(' '.join(repr(v) for v in x))


main()
