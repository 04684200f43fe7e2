"""Optuna's CMA-ES on a planted pool, evaluated by the driver of scripts/bench-evo; run by it in an
environment of its own.  bench_evo_peers.py DRIVER N SEED CALLS prints calls and the share of the gap
that its best trial closes on the report split."""
import subprocess
import sys
import warnings

import optuna

driver, n, seed, calls = sys.argv[1], *map(int, sys.argv[2:5])
optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter('ignore')
EXAMPLES = 300

with subprocess.Popen([driver, 'serve', str(n), str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                      text=True) as pool:
    def ask(split, point):
        pool.stdin.write(f'{split} ' + ' '.join(map(repr, point)) + '\n')
        pool.stdin.flush()
        return [float(x) for x in pool.stdout.readline().split()]

    def point_of(params):
        return [params[f'{kind}{i}'] for kind in ('alpha', 'beta') for i in range(n)]

    def objective(trial):
        params = {f'alpha{i}': trial.suggest_float(f'alpha{i}', 0, 1) for i in range(n)}
        params |= {f'beta{i}': trial.suggest_float(f'beta{i}', -1.5, 1.5) for i in range(n)}
        return ask(0, point_of(params))[0]

    # From where evo_merging begins; left to itself it begins in the middle, at the base model, where
    # the loss is flat in every direction.
    x0 = {f'alpha{i}': 0.6 for i in range(n)} | {f'beta{i}': 1 / n for i in range(n)}
    study = optuna.create_study(sampler=optuna.samplers.CmaEsSampler(x0=x0, seed=seed))
    study.optimize(objective, n_trials=calls // EXAMPLES)
    print(calls, ask(2, point_of(study.best_params))[1])
    pool.stdin.close()
