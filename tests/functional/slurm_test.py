#!/usr/bin/env python3
"""The array job of config/deploy on a real Slurm, as docs/workers.md shows it: a job of the daemon
is worked off by its tasks, and a task that is told to end gives back what it has.

Skipped where Slurm is not installed.  Needs root, for slurmd."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import slurm  # noqa: E402
from daemon import BINARY, ROOT, Daemon, check_counts, wait_for  # noqa: E402

SCRIPT = ROOT / 'config/deploy/slurm-worker.sbatch'
TRIALS = 200

SPHERE = {'space': [{'name': name, 'type': 'real', 'low': 0, 'high': 1} for name in 'xy'],
          'objectives': [{'name': 'distance', 'goal': 'minimize'}]}
HELLO = {'paretod': 1, 'type': 'hello', 'evaluator': 'sphere', **SPHERE}


def job(trials, parallelism=8):
    return {'name': 'on-slurm', 'optimizer': 'random', 'evaluator': 'shared', 'seed': 1,
            'budget': {'trials': trials}, 'parallelism': parallelism}


@unittest.skipIf(slurm.missing(), slurm.missing())
class Slurm(unittest.TestCase):
    def setUp(self):
        self.cluster = self.enterContext(slurm.SlurmCluster())
        self.daemon = self.enterContext(Daemon({
            'evaluators': {'shared': {'type': 'workers', 'hello': 'hello.json'}}}))
        (self.daemon.directory / 'hello.json').write_text(json.dumps(HELLO))
        self.daemon.start()
        self.folder = self.cluster.directory / 'work'
        self.folder.mkdir()

    def write_worker(self, program):
        (self.folder / 'worker.json').write_text(json.dumps(
            {'evaluators': {'shared': {'type': 'process', 'argv': ['python3', str(program)]}}}))

    def submit(self, *options, idle_exit=2):
        return self.cluster.submit(
            SCRIPT, '--chdir', str(self.folder), *options, PARETOD_BINARY=BINARY,
            PARETOD_URL=self.daemon.url, PARETOD_EVALUATOR='shared',
            PARETOD_WORKER_CONFIG=str(self.folder / 'worker.json'),
            PARETOD_WORKER_STATE=str(self.folder / 'state'), PARETOD_IDLE_EXIT=str(idle_exit))

    def logs(self):
        return '\n'.join(f'{path.name}: {path.read_text()}' for path in self.folder.glob('*.log'))

    def wait_empty(self):
        wait_for(lambda: not self.cluster.queued(),
                 f'the tasks to end; {self.logs()}; {self.cluster.logs()}', 120)

    def test_an_array_job_works_a_job_off(self):
        self.write_worker(ROOT / 'config/examples/evaluators/sphere.py')
        job_id = self.daemon.submit(job(TRIALS))
        self.submit('--array=0-3')
        done = self.daemon.wait_finished(job_id)
        self.assertEqual(done['status'], 'succeeded', done)
        self.wait_empty()
        check_counts(self, self.daemon, job_id, TRIALS)
        logs = sorted(self.folder.glob('paretod-worker-*.log'))
        self.assertEqual(len(logs), 4, self.cluster.logs())
        for log in logs:
            self.assertRegex(log.read_text(), r'\d+ attempts ended')

    def test_a_task_that_has_to_end_gives_back_what_it_has(self):
        slow = self.folder / 'slow.py'
        slow.write_text('import json, sys, time\n'
                        f'print({json.dumps(HELLO)!r}, flush=True)\n'
                        'for line in sys.stdin:\n'
                        '    if json.loads(line)["type"] == "evaluate":\n'
                        '        time.sleep(3600)\n')
        self.write_worker(slow)
        job_id = self.daemon.submit(job(1))
        array = self.submit('--array=0', idle_exit=600)
        wait_for(lambda: self.started(job_id) == 1, f'the attempt to start; {self.logs()}', 120)
        # As at the end of its time; a second one, since nobody wants to wait for the grace period.
        for _ in range(2):
            status, _, err = self.cluster.command('scancel', '--batch', '--signal=TERM', array)
            self.assertEqual(status, 0, err)
        self.wait_empty()
        self.assertIn('1 attempts given back', self.logs())
        self.write_worker(ROOT / 'config/examples/evaluators/sphere.py')
        self.submit('--array=0')
        self.assertEqual(self.daemon.wait_finished(job_id)['status'], 'succeeded')
        self.assertEqual(self.started(job_id), 2)
        self.wait_empty()

    def started(self, job_id):
        return sum(event['e'] == 'started' for _, event in self.daemon.events(job_id))


if __name__ == '__main__':
    unittest.main(verbosity=2)
