#!/usr/bin/env python3
"""Workers, real ones: kill -9 of workers and of the daemon while they evaluate.

Afterwards every trial has been told once, and nothing that a worker had spooled is lost or counted
twice.  PARETOD_CHAOS_CYCLES sets the number of kills (a few by default, more nightly)."""
import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import BINARY, Daemon, check_counts, wait_for  # noqa: E402

CYCLES = int(os.environ.get('PARETOD_CHAOS_CYCLES', '6'))
TRIALS = 60 * CYCLES
SPACE = [{'name': 'x', 'type': 'real', 'low': 0, 'high': 1}]

# Appends what it has answered to a file before it answers: what it would have billed.
EVALUATOR = '''
import json, os, sys, time
bill = open(sys.argv[1], 'a')
print(json.dumps({'paretod': 1, 'type': 'hello', 'slots': 1, 'evaluator': 'billing'}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if message['type'] != 'evaluate':
        continue
    time.sleep(0.005)
    bill.write(message['id'] + '\\n')
    bill.flush()
    print(json.dumps({'type': 'result', 'id': message['id'],
                      'objectives': {'y': message['candidate']['x']},
                      'cost': {'tokens': 7}}), flush=True)
'''


class Worker:
    """A worker process under a name of its own, whose spool stays when it is killed."""

    def __init__(self, daemon, name):
        self.daemon, self.name = daemon, name
        self.log = daemon.directory / f'{name}.log'
        self.start()

    def start(self):
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                [BINARY, 'worker', '--daemon', self.daemon.fixed_url, '--evaluator', 'remote',
                 '--config', str(self.daemon.directory / 'worker.json'), '--name', self.name,
                 '--state', str(self.daemon.directory / 'workers'), '--grace', '5'],
                stdout=log, stderr=log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def world():
    daemon = Daemon({'evaluators': {'remote': {'type': 'workers', 'slots': 8}},
                     'limits': {'lease_ttl_s': 1}})
    port = free_port()
    daemon.fixed_url = f'http://127.0.0.1:{port}'
    # The last --port counts: a restarted daemon has to be found again.
    daemon.args += ['--port', str(port)]
    script = daemon.directory / 'billing.py'
    script.write_text(EVALUATOR)
    daemon.bill = daemon.directory / 'bill'
    (daemon.directory / 'worker.json').write_text(json.dumps({'evaluators': {'remote': {
        'type': 'process', 'argv': [sys.executable, str(script), str(daemon.bill)],
        'processes': 2}}}))
    return daemon


class WorkersKill(unittest.TestCase):
    def spec(self):
        return {'optimizer': 'random', 'evaluator': 'remote', 'space': SPACE, 'seed': 3,
                'objectives': [{'name': 'y'}], 'budget': {'trials': TRIALS}, 'max_attempts': 50}

    def run_with(self, disturb):
        with world() as daemon:
            daemon.start()
            job = daemon.submit(self.spec())
            workers = [Worker(daemon, f'w{i}') for i in range(3)]
            try:
                chance = random.Random(11)
                for cycle in range(CYCLES):
                    goal = daemon.told(job) + chance.randint(1, 40)
                    wait_for(lambda: daemon.finished(job) or daemon.told(job) >= goal, 'progress')
                    if daemon.finished(job):
                        break
                    disturb(daemon, workers, chance)
                self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded',
                                 daemon.log.read_text()[-3000:])
                self.assertGreaterEqual(cycle, CYCLES // 2)
                for worker in workers:
                    self.assertEqual(worker.stop(), 0, worker.log.read_text()[-2000:])
            finally:
                for worker in workers:
                    if worker.process.poll() is None:
                        worker.kill()
            check_counts(self, daemon, job, TRIALS)
            self.check_attempts(daemon, job)

    def check_attempts(self, daemon, job):
        """Each outcome is of an attempt that began, and was evaluated by somebody."""
        started, told = collections.Counter(), {}
        for _, event in daemon.events(job):
            if event['e'] == 'started':
                started[(event['n'], event['a'])] += 1
            elif event['e'] == 'told':
                told[event['n']] = event.get('a', 1)
        self.assertEqual({count for count in started.values()}, {1}, 'an attempt begins once')
        billed = set(daemon.bill.read_text().split())
        for trial, attempt in told.items():
            self.assertIn((trial, attempt), started)
            self.assertIn(f'{job}:{trial}:{attempt}', billed)
        # Nothing is counted twice: an outcome's tokens once, an attempt's that came too late at most
        # once each.
        tokens = daemon.job(job)['progress']
        self.assertEqual(tokens['told'], TRIALS)

    def test_kill_9_of_workers(self):
        def disturb(daemon, workers, chance):
            worker = chance.choice(workers)
            worker.kill()
            worker.start()
        self.run_with(disturb)

    def test_kill_9_of_the_daemon(self):
        def disturb(daemon, workers, chance):
            daemon.kill()
            daemon.start()
        self.run_with(disturb)

    def test_kill_9_of_everything_in_turn(self):
        def disturb(daemon, workers, chance):
            if chance.random() < 0.4:
                daemon.kill()
                daemon.start()
            for worker in workers:
                if chance.random() < 0.4:
                    worker.kill()
                    worker.start()
        self.run_with(disturb)


if __name__ == '__main__':
    unittest.main(verbosity=2)
