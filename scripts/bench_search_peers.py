'''Objective vectors of every evaluation, in order, one per line: PEER PROBLEM OBJECTIVES SEED EVALUATIONS'''
import sys
import numpy as np

peer, name, objectives, seed, budget = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
PI = np.pi


def shape():
    """Dimension and bounds."""
    if name.startswith('zdt'):
        n = 10 if name in ('zdt4', 'zdt6') else 30
        low, high = (-5, 5) if name == 'zdt4' else (0, 1)
        return n, np.array([0.] + [low] * (n - 1)), np.array([1.] + [high] * (n - 1))
    n = objectives - 1 + {'dtlz1': 5, 'dtlz2': 10, 'dtlz7': 20}[name]
    return n, np.zeros(n), np.ones(n)


def value(x):
    """Rows of points to rows of objectives."""
    if name.startswith('zdt'):
        f1, tail = x[:, 0], x[:, 1:]
        g = 1 + 9 * tail.mean(axis=1)
        if name == 'zdt4':
            g = 1 + 10 * tail.shape[1] + (tail ** 2 - 10 * np.cos(4 * PI * tail)).sum(axis=1)
        if name == 'zdt6':
            f1 = 1 - np.exp(-4 * x[:, 0]) * np.sin(6 * PI * x[:, 0]) ** 6
            g = 1 + 9 * tail.mean(axis=1) ** 0.25
        r = f1 / g
        h = {'zdt2': 1 - r ** 2, 'zdt6': 1 - r ** 2, 'zdt3': 1 - np.sqrt(r) - r * np.sin(10 * PI * f1)}.get(name, 1 - np.sqrt(r))
        return np.column_stack([f1, g * h])
    m, tail = objectives, x[:, objectives - 1:]
    if name == 'dtlz7':
        g = 1 + 9 * tail.mean(axis=1)
        head = x[:, :m - 1]
        h = m - (head / (1 + g[:, None]) * (1 + np.sin(3 * PI * head))).sum(axis=1)
        return np.column_stack([head, (1 + g) * h])
    d = tail - 0.5
    g = (d ** 2).sum(axis=1)
    if name == 'dtlz1':
        g = 100 * (tail.shape[1] + (d ** 2 - np.cos(20 * PI * d)).sum(axis=1))
    columns = []
    for i in range(m):
        f = (1 + g) / 2 if name == 'dtlz1' else 1 + g
        for j in range(m - 1 - i):
            f = f * (x[:, j] if name == 'dtlz1' else np.cos(x[:, j] * PI / 2))
        if i > 0:
            last = x[:, m - 1 - i]
            f = f * (1 - last if name == 'dtlz1' else np.sin(last * PI / 2))
        columns.append(f)
    return np.column_stack(columns)


n, low, high = shape()
seen = []


def record(y):
    seen.extend(y.tolist())
    return y


def run_pymoo():
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.algorithms.moo.nsga3 import NSGA3
    from pymoo.core.problem import Problem
    from pymoo.optimize import minimize
    from pymoo.util.ref_dirs import get_reference_directions

    class Wrapped(Problem):
        def __init__(self):
            super().__init__(n_var=n, n_obj=objectives, xl=low, xu=high)

        def _evaluate(self, x, out, *_, **__):
            out['F'] = record(value(x))

    if peer == 'pymoo-nsga2':
        algorithm = NSGA2(pop_size=100)
    else:
        divisions = {2: 99, 3: 12, 5: 6}[objectives]
        algorithm = NSGA3(ref_dirs=get_reference_directions('das-dennis', objectives, n_partitions=divisions))
    minimize(Wrapped(), algorithm, ('n_eval', budget), seed=seed, verbose=False)


def run_optuna():
    import warnings
    import optuna
    warnings.simplefilter('ignore')
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = optuna.samplers
    sampler = {'optuna-nsga2': lambda: samplers.NSGAIISampler(population_size=100, seed=seed),
               'optuna-nsga3': lambda: samplers.NSGAIIISampler(seed=seed),
               'optuna-tpe': lambda: samplers.TPESampler(seed=seed, multivariate=False)}[peer]()
    study = optuna.create_study(directions=['minimize'] * objectives, sampler=sampler)

    def objective(trial):
        x = np.array([[trial.suggest_float(f'x{i}', low[i], high[i]) for i in range(n)]])
        return tuple(record(value(x))[0])
    study.optimize(objective, n_trials=budget)


if peer == 'value':
    seen = value(np.array([[float(t) for t in line.split()] for line in sys.stdin])).tolist()
elif peer.startswith('pymoo'):
    run_pymoo()
else:
    run_optuna()
for y in seen[:budget] if budget else seen:
    print(' '.join(repr(v) for v in y))
