'''What peers take for a trivial objective, or the share of 256 slots that they keep busy with
evaluations of a second; prints one number.
    optuna-time STORAGE TRIALS | optuna-busy STORAGE TRIALS   (STORAGE: file:PATH, redis:SOCKET, sqlite:PATH)
    dask-time TRIALS | dask-busy TRIALS | ray-time TRIALS | ray-busy TRIALS
Times are microseconds of wall time per trial, the best way of two to ask for them.'''
import multiprocessing
import sys
import time

IN_FLIGHT, SLOTS, SECONDS, PROCESSES = 64, 256, 1, 2


def trivial(x, y):
    return x * x + y * y


def slow(x, y):
    """The value, and when it began."""
    began = time.time()
    time.sleep(SECONDS)
    return trivial(x, y), began


def busy(began, ended):
    return 100 * SECONDS * len(began) / (SLOTS * (max(ended) - min(began)))


# ---- Optuna ------------------------------------------------------------------------------------

def optuna_study(where):
    import optuna
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalRedisBackend
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kind, _, path = where.partition(':')
    storage = {'file': lambda: JournalStorage(JournalFileBackend(path)),
               'redis': lambda: JournalStorage(JournalRedisBackend(f'unix://{path}')),
               'sqlite': lambda: RDBStorage(f'sqlite:///{path}')}[kind]()
    return optuna.create_study(study_name='bench', storage=storage, load_if_exists=True,
                               sampler=optuna.samplers.RandomSampler())


def suggested(trial):
    return trial.suggest_float('x', -5, 5), trial.suggest_float('y', -5, 5)


def optuna_process(where, trials, ready):
    study = optuna_study(where)
    ready.wait()
    study.optimize(lambda trial: trivial(*suggested(trial)), n_trials=trials)


def optuna_time(where, trials):
    optuna_study(where)  # the tables, before two processes want to make them
    ready = multiprocessing.Barrier(PROCESSES + 1)
    share = trials // PROCESSES
    workers = [multiprocessing.Process(target=optuna_process, args=(where, share, ready)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    ready.wait()
    start = time.monotonic()
    for worker in workers:
        worker.join()
    took = time.monotonic() - start
    assert all(worker.exitcode == 0 for worker in workers)
    return 1e6 * took / (PROCESSES * share)


def optuna_busy(where, trials):
    """Its own threads; an evaluation is over when its sleep is, not when it is stored."""
    began, ended = [], []

    def objective(trial):
        value, start = slow(*suggested(trial))
        began.append(start)
        ended.append(time.time())
        return value
    optuna_study(where).optimize(objective, n_trials=trials, n_jobs=SLOTS)
    return busy(began, ended)


# ---- Dask and Ray ------------------------------------------------------------------------------

def best_time(trials, *ways):
    times = []
    for way in ways:
        start = time.monotonic()
        way(trials)
        times.append(1e6 * (time.monotonic() - start) / trials)
    return min(times)


def dask_in_flight(client, function, trials, in_flight):
    """Keeps so many in flight; what each returned, and when it was here."""
    from distributed import as_completed
    asked = min(in_flight, trials)
    running = as_completed([client.submit(function, i, 1, pure=False) for i in range(asked)], with_results=True)
    found = []
    for _, value in running:
        found.append((value, time.time()))
        if asked < trials:
            running.add(client.submit(function, asked, 1, pure=False))
            asked += 1
    return found


def dask_client(threads):
    from distributed import Client
    return Client(n_workers=PROCESSES, threads_per_worker=threads, dashboard_address=None)


def dask_time(trials):
    with dask_client(1) as client:
        client.gather(client.map(trivial, range(100), [1] * 100, pure=False))
        return best_time(trials, lambda n: dask_in_flight(client, trivial, n, IN_FLIGHT),
                         lambda n: client.gather(client.map(trivial, range(n), [1] * n, pure=False)))


def dask_busy(trials):
    with dask_client(SLOTS // PROCESSES) as client:
        found = dask_in_flight(client, slow, trials, SLOTS)
    return busy([began for (_, began), _ in found], [ended for _, ended in found])


def ray_in_flight(ray, start, trials, in_flight):
    asked = min(in_flight, trials)
    running = [start(i) for i in range(asked)]
    found = []
    while running:
        done, running = ray.wait(running, num_returns=1)
        found.append((ray.get(done[0]), time.time()))
        if asked < trials:
            running.append(start(asked))
            asked += 1
    return found


def ray_started():
    import ray
    ray.init(num_cpus=PROCESSES, include_dashboard=False, log_to_driver=False, logging_level='ERROR')
    return ray


def ray_time(trials):
    ray = ray_started()
    function = ray.remote(trivial)
    ray.get([function.remote(i, 1) for i in range(100)])
    return best_time(trials, lambda n: ray_in_flight(ray, lambda i: function.remote(i, 1), n, IN_FLIGHT),
                     lambda n: ray.get([function.remote(i, 1) for i in range(n)]))


def ray_busy(trials):
    """Two actors of 128 threads: 256 processes would not fit into the memory of a small machine."""
    ray = ray_started()

    class Slots:
        def evaluate(self, x, y):
            return slow(x, y)
    actors = [ray.remote(Slots).options(max_concurrency=SLOTS // PROCESSES).remote() for _ in range(PROCESSES)]
    found = ray_in_flight(ray, lambda i: actors[i % PROCESSES].evaluate.remote(i, 1), trials, SLOTS)
    return busy([began for (_, began), _ in found], [ended for _, ended in found])


if __name__ == '__main__':
    what, *where, count = sys.argv[1:]
    print({'optuna-time': optuna_time, 'optuna-busy': optuna_busy, 'dask-time': dask_time, 'dask-busy': dask_busy,
           'ray-time': ray_time, 'ray-busy': ray_busy}[what](*where, int(count)))
