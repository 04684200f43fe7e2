#!/usr/bin/env python3
"""kill -9 of the daemon, and of its Redis, at random instants of a running job.

Serial jobs must end with the log of an undisturbed run; parallel ones must lose and double
nothing.  PARETOD_CHAOS_CYCLES sets the number of kills (a few by default, 100 nightly)."""
import os
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import Daemon, check_counts, kill_instants, wait_for  # noqa: E402

CYCLES = int(os.environ.get('PARETOD_CHAOS_CYCLES', '6'))
TRIALS = 40 * CYCLES


def spec(parallelism, optimizer='random'):
    job = {'optimizer': optimizer, 'evaluator': {'name': 'zdt1', 'params': {'delay_ms': 2}},
           'budget': {'trials': TRIALS}, 'parallelism': parallelism, 'seed': 5}
    if optimizer == 'autodiffusion':
        job['evaluator'] = {'name': 'ddim', 'params': {'delay_ms': 2}}
        job['space'] = [{'name': 'schedule', 'type': 'schedule', 'low': 0, 'high': 999, 'whole': True,
                         'least': 2, 'most': 6}]
    return job


class Kill(unittest.TestCase):
    maxDiff = 2000

    def undisturbed(self, job_spec):
        with Daemon() as daemon:
            daemon.start()
            job = daemon.submit(job_spec)
            self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')
            return daemon.canonical(job)

    def disturbed(self, daemon, job_spec, kill, seed):
        """Runs the job with CYCLES kills spread over it; returns its id."""
        instants = kill_instants(seed)
        daemon.start()
        job = daemon.submit(job_spec)
        kills = 0
        while not daemon.finished(job):
            if kills < CYCLES:
                goal = daemon.told(job) + instants.randint(0, 50)
                wait_for(lambda: daemon.finished(job) or daemon.told(job) >= goal, 'progress')
                kill(daemon)
                kills += 1
                # After its fifth death in ten minutes a private Redis is restarted ever more
                # slowly; a fresh daemon counts afresh.
                if kills % 4 == 0:
                    self.assertEqual(daemon.stop(), 0)
                    daemon.start()
            else:
                daemon.wait_finished(job)
        self.assertGreaterEqual(kills, CYCLES // 2)
        self.assertEqual(daemon.job(job)['status'], 'succeeded', daemon.job(job))
        return job

    @staticmethod
    def kill_daemon(daemon):
        daemon.kill()
        daemon.start()

    @staticmethod
    def kill_redis(daemon):
        pid = wait_for(daemon.redis_pid, 'the private Redis')
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: daemon.redis_pid() not in (None, pid), 'a new Redis')

    def test_serial_log_is_that_of_an_undisturbed_run(self):
        for optimizer in ('random', 'autodiffusion', {'name': 'pagmo', 'params': {'population': 20}}):
            whole = self.undisturbed(spec(1, optimizer))
            for kill in (self.kill_daemon, self.kill_redis):
                with self.subTest(optimizer=optimizer, kill=kill.__name__), Daemon() as daemon:
                    job = self.disturbed(daemon, spec(1, optimizer), kill, 1)
                    self.assertEqual(daemon.canonical(job), whole)

    def test_parallel_runs_lose_and_double_nothing(self):
        for kill in (self.kill_daemon, self.kill_redis):
            with self.subTest(kill=kill.__name__), Daemon() as daemon:
                job = self.disturbed(daemon, spec(8), kill, 2)
                check_counts(self, daemon, job, TRIALS)


if __name__ == '__main__':
    unittest.main(verbosity=2)
