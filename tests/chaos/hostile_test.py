#!/usr/bin/env python3
"""Evaluators that do all that can go wrong, with the real daemon: every trial is told once, the
search goes on, the daemon stays as small as it was.  PARETOD_CHAOS_CYCLES sets how often."""
import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import ROOT, Daemon, check_counts  # noqa: E402

CYCLES = int(os.environ.get('PARETOD_CHAOS_CYCLES', '6'))
PROGRAM = ROOT / 'tests/support/evaluators/misbehave.py'
# What says nothing costs a whole deadline each, so there are few of those in a short run.
SLOW = {'hang', 'fork', 'late', 'burn'}
# Takes a limit on memory to be harmless.
LIMITED = {'allocate', 'big_file'}
GOOD = {'answer', 'echo', 'cost', 'progress', 'metric_nan', 'negative_stderr', 'late', 'stderr_flood',
        'twice', 'bad_bytes', 'quit_politely'}


def behaviours():
    text = PROGRAM.read_text()
    scope = {}
    exec(text[text.index('BEHAVIOURS = ['):text.index(']', text.index('BEHAVIOURS')) + 1], scope)
    return scope['BEHAVIOURS']


class Hostile(unittest.TestCase):
    def resident_mib(self, daemon):
        status = pathlib.Path(f'/proc/{daemon.process.pid}/status').read_text()
        return int(next(line for line in status.splitlines() if line.startswith('VmRSS')).split()[1]) / 1024

    def test_everything_at_once(self):
        kinds = [kind for kind in behaviours() if kind not in LIMITED]
        rounds = max(1, CYCLES // 3)
        initial = [{'behave': kind, 'x': -10 + 0.01 * i} for i in range(rounds) for kind in kinds
                   if i == 0 or kind not in SLOW]
        with Daemon({'evaluators': {'odd': {
                'type': 'process', 'argv': [sys.executable, str(PROGRAM), 'well'],
                'processes': 4}}}) as daemon:
            daemon.start()
            before = self.resident_mib(daemon)
            job = daemon.submit({
                'optimizer': 'random', 'evaluator': 'odd', 'seed': 1, 'initial': initial,
                'budget': {'trials': len(initial)}, 'trial_timeout_s': 2, 'max_failure_share': 1,
                'parallelism': 8})
            self.assertEqual(daemon.wait_finished(job, 600)['status'], 'succeeded')
            check_counts(self, daemon, job, len(initial))
            trials = daemon.get(f'/v1/jobs/{job}/trials?page_size=500')['trials']
            status = {}
            for trial in trials:
                status.setdefault(trial['candidate']['behave'], set()).add(trial['status'])
            self.assertEqual(status['answer'], {'ok'})
            self.assertEqual(status['infeasible'], {'infeasible'})
            for kind in ('exit', 'killed', 'nan', 'infinity', 'missing', 'text', 'fatal', 'hang',
                         'flood', 'deep', 'garbage'):
                self.assertEqual(status[kind], {'failed'}, kind)
            for trial in trials:
                if trial['status'] == 'failed':
                    self.assertTrue(trial['outcome']['reason'])
            if 'PARETOD_SANITIZED' not in os.environ:  # which keeps what was freed
                self.assertLess(self.resident_mib(daemon) - before, 50)


if __name__ == '__main__':
    unittest.main(verbosity=2)
