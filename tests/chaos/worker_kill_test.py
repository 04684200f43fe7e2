#!/usr/bin/env python3
"""kill -9 of workers and of the daemon at random instants of a job that the workers evaluate: it
ends, and no trial is lost or told twice.  PARETOD_CHAOS_CYCLES sets the number of kills."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import BINARY, Daemon, check_counts, kill_instants, wait_for  # noqa: E402

CYCLES = int(os.environ.get('PARETOD_CHAOS_CYCLES', '6'))
TRIALS = 60 * CYCLES
WORKERS = 3
TOKENS = 5  # that each attempt says it used

HELLO = {'paretod': 1, 'type': 'hello', 'evaluator': 'far', 'slots': 4,
         'space': [{'name': 'x', 'type': 'real', 'low': 0, 'high': 1}],
         'objectives': [{'name': 'f', 'goal': 'minimize'}]}
# Notes every attempt that it begins.
PROGRAM = f"""
import json, sys
print({json.dumps(HELLO)!r}, flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request['type'] == 'evaluate':
        with open('begun', 'a') as begun:
            begun.write(request['id'] + chr(10))
        print(json.dumps({{'type': 'result', 'id': request['id'], 'cost': {{'tokens': {TOKENS}}},
                          'objectives': {{'f': request['candidate']['x']}}}}), flush=True)
"""


class Workers:
    """Processes that are started again when they were killed."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = {}
        self.url = None

    def start(self, number):
        with open(self.folder / f'worker-{number}.log', 'ab') as log:
            self.processes[number] = subprocess.Popen(
                [BINARY, 'worker', '--daemon', self.url, '--evaluator', 'far', '--name', f'w{number}',
                 '--config', str(self.folder / 'worker.json'), '--slots', '4',
                 '--state', str(self.folder / 'worker-state')], stderr=log)

    def kill(self, number):
        self.processes[number].kill()
        self.processes[number].wait()

    def stop(self):
        """SIGTERM to all; their exit statuses."""
        for process in self.processes.values():
            process.terminate()
        return [process.wait(timeout=60) for process in self.processes.values()]

    def logs(self):
        return '\n'.join(f'{path.name}: {path.read_text()[-1000:]}'
                         for path in self.folder.glob('worker-*.log'))

    def left(self):
        """Bytes of results that no daemon has acknowledged."""
        return sum(file.stat().st_size for file in (self.folder / 'worker-state').rglob('*.jsonl'))


class WorkerKill(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon({'evaluators': {'far': {'type': 'workers', 'hello': 'hello.json'}},
                              'listen': {'port': 0}, 'limits': {'lease_ttl_s': 1}})
        self.enterContext(self.daemon)
        folder = self.daemon.directory
        (folder / 'hello.json').write_text(json.dumps(HELLO))
        (folder / 'far.py').write_text(PROGRAM)
        (folder / 'worker.json').write_text(json.dumps(
            {'evaluators': {'far': {'type': 'process', 'argv': ['python3', 'far.py']}}}))
        self.workers = Workers(folder)
        self.addCleanup(lambda: [process.kill() for process in self.workers.processes.values()])

    def disturbed(self, kill):
        self.daemon.start()
        self.workers.url = self.daemon.url
        for number in range(WORKERS):
            self.workers.start(number)
        job = self.daemon.submit({'optimizer': 'random', 'evaluator': 'far', 'seed': 3, 'parallelism': 12,
                                  'budget': {'trials': TRIALS, 'tokens': 10**6,
                                             'worst_case': {'tokens': TOKENS}}, 'max_attempts': 100})
        instants = kill_instants(4)
        for cycle in range(CYCLES):
            goal = self.daemon.told(job) + instants.randint(1, 40)
            wait_for(lambda: self.daemon.finished(job) or self.daemon.told(job) >= goal,
                     f'progress; {self.workers.logs()}')
            kill(cycle)
        done = self.daemon.wait_finished(job)
        self.assertEqual(done['status'], 'succeeded', done)
        check_counts(self, self.daemon, job, TRIALS)
        self.check_attempts(job)
        self.check_spend(job, done)
        wait_for(lambda: self.workers.left() == 0, f'the spools to empty; {self.workers.logs()}')
        self.assertEqual(set(self.workers.stop()), {0}, self.workers.logs())
        return job

    def check_attempts(self, job):
        """An attempt begins once, and each outcome is of one that began and was evaluated."""
        started, told = [], []
        for _, event in self.daemon.events(job):
            if event['e'] == 'started':
                started.append((event['n'], event['a']))
            elif event['e'] == 'told':
                told.append((event['n'], event.get('a', 1)))
        self.assertEqual(len(started), len(set(started)))
        begun = set((self.daemon.directory / 'begun').read_text().split())
        for trial, attempt in told:
            self.assertIn((trial, attempt), started)
            self.assertIn(f'{job}:{trial}:{attempt}', begun)

    def check_spend(self, job, done):
        """What the evaluator charged for each outcome, once; lost attempts are billed beside it."""
        told = [event.get('k', 0) for _, event in self.daemon.events(job) if event['e'] == 'told']
        self.assertEqual(told, [TOKENS] * TRIALS)
        lost = sum(event.get('k', 0) for _, event in self.daemon.events(job) if event['e'] == 'ended')
        self.assertEqual(done['progress']['budgets']['tokens']['spent'], TOKENS * TRIALS + lost)

    def kill_worker(self, cycle):
        self.workers.kill(cycle % WORKERS)
        self.workers.start(cycle % WORKERS)

    def kill_daemon(self, _):
        port = self.daemon.url.rsplit(':', 1)[1]
        self.daemon.kill()
        self.daemon.args = ['--port', port]
        self.daemon.start()

    def test_workers(self):
        self.disturbed(self.kill_worker)

    def test_daemon(self):
        """What living workers have is not given to others, however often the daemon dies."""
        self.disturbed(self.kill_daemon)
        begun = (self.daemon.directory / 'begun').read_text().splitlines()
        trials = [int(attempt.split(':')[1]) for attempt in begun]
        self.assertEqual(sorted(trials), list(range(1, TRIALS + 1)))

    def test_both(self):
        def both(cycle):
            (self.kill_daemon if cycle % 2 else self.kill_worker)(cycle)
        self.disturbed(both)


if __name__ == '__main__':
    unittest.main(verbosity=2)
