#!/usr/bin/env python3
"""Trials that somebody injects, and a job's surrogate, with the real daemon and the real Redis."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import BINARY, Daemon, ROOT, wait_for  # noqa: E402

sys.path.insert(0, str(ROOT / 'adapters/python/src'))
import paretod  # noqa: E402

SPACE = [{'name': name, 'type': 'real', 'low': 0, 'high': 1} for name in 'xyz']


def points(*values):
    return [{'x': x, 'y': 0, 'z': 0} for x in values]


def zdt1(optimizer, trials, delay_ms=0, **more):
    return {'optimizer': optimizer, 'space': SPACE, 'seed': 1, 'budget': {'trials': trials},
            'evaluator': {'name': 'zdt1', 'params': {'delay_ms': delay_ms}}, **more}


def told(job):
    return [trial for trial in job.trials() if trial['status'] != 'asked']


class Verify(unittest.TestCase):
    def replayed(self, daemon, job):
        """What `paretod replay` says of the exported log."""
        environment = {**os.environ, 'PARETOD_URL': daemon.url}
        log = daemon.directory / 'log.ndjson'
        subprocess.run([BINARY, 'export', job.id, '-o', str(log)], env=environment, check=True)
        done = subprocess.run([BINARY, 'replay', str(log)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_an_ended_job_survives_kill_while_it_is_verified(self):
        with Daemon() as daemon:
            daemon.start()
            job = paretod.Client(daemon.url).submit(zdt1('random', 4, delay_ms=30))
            job.wait(progress=False)
            daemon.kill()
            daemon.start()
            job = paretod.Client(daemon.url).job(job.id)
            first = job.verify(candidates=points(0.1, 0.2, 0.3, 0.4), key='once')
            self.assertEqual([trial['trial'] for trial in first], [5, 6, 7, 8])
            daemon.kill()
            daemon.start()
            job = paretod.Client(daemon.url).job(job.id)
            again = job.verify(candidates=points(0.1, 0.2, 0.3, 0.4), key='once')
            self.assertEqual([trial['trial'] for trial in again], [5, 6, 7, 8])
            wait_for(lambda: len(told(job)) == 8, 'the verified trials')
            status = job.status()
            self.assertEqual(status['status'], 'succeeded')
            self.assertEqual((status['progress']['told'], status['progress']['injected_told']), (4, 4))
            kinds = [event.kind for event in job.events(after='0-0')]
            self.assertEqual(kinds[-1], 'finished')
            self.assertIn('4 trials', self.replayed(daemon, job))

    def test_a_running_job_goes_on_beside_them(self):
        with Daemon() as daemon:
            daemon.start()
            job = paretod.Client(daemon.url).submit(
                zdt1({'name': 'nsga2', 'params': {'population': 8}}, 40, delay_ms=20, parallelism=2))
            wait_for(lambda: len(told(job)) > 2, 'the first trials')
            trials = job.verify(candidates=points(0.5, 0.75))
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
            daemon.start()
            job = paretod.Client(daemon.url).job(job.id)
            job.wait(progress=False)
            wait_for(lambda: len(told(job)) == 42, 'all trials')
            tags = {trial['number']: trial['tag'] for trial in job.trials()}
            self.assertEqual([tags[trial['trial']] for trial in trials], ['verify', 'verify'])
            self.assertIn('40 trials', self.replayed(daemon, job))

    def test_who_asks_and_tells_is_asked_after_the_end(self):
        with Daemon() as daemon:
            daemon.start()
            job = paretod.Client(daemon.url).submit(
                {'optimizer': 'random', 'evaluator': 'external', 'space': SPACE, 'seed': 1,
                 'objectives': [{'name': 'f'}], 'budget': {'trials': 1}})
            asked, = job.ask()
            job.tell(asked, {'f': 1})
            job.wait(progress=False)
            with self.assertRaises(paretod.Refused):
                job.ask()
            job.verify(candidates=points(0.25))
            asked, = job.ask()
            self.assertEqual(asked.candidate, points(0.25)[0])
            daemon.kill()  # a lease outlives the daemon
            daemon.start()
            job = paretod.Client(daemon.url).job(job.id)
            self.assertEqual(job.tell(asked, {'f': 0.5}), 'accepted')
            self.assertEqual([trial['status'] for trial in job.trials()], ['ok', 'ok'])
            self.assertEqual(job.best()['trial'], 2)

    def test_a_surrogate_answers_and_is_verified(self):
        with Daemon() as daemon:
            daemon.start()
            job = paretod.Client(daemon.url).submit(zdt1('map', 40))
            job.wait(progress=False)
            surrogate = job.surrogate()
            self.assertEqual(surrogate['verdict'], 'trade-off')
            self.assertEqual([model['name'] for model in surrogate['objectives']], ['f1', 'f2'])
            before = len(list(job.trials()))
            predicted = job.front(source='predicted', preference={'f1': 0.7, 'f2': 0.3})
            self.assertGreater(len(predicted), 10)
            chosen = predicted.chosen
            self.assertIsInstance(chosen, paretod.PredictedPoint)
            self.assertFalse(chosen.extrapolated)
            self.assertEqual(len(list(job.trials())), before)  # no evaluation
            trial, = job.verify(preference={'f1': 0.7, 'f2': 0.3})
            self.assertEqual(trial['candidate'], chosen.candidate)
            wait_for(lambda: len(told(job)) == before + 1, 'the verified trial')
            # f1 is x itself, which a quadratic has exactly.
            measured = [one for one in job.trials() if one['number'] == trial['trial']][0]
            self.assertAlmostEqual(measured['outcome']['objectives']['f1']['value'],
                                   chosen.objectives['f1'].mean, places=3)
            self.assertEqual(job.surrogate()['trials'], before + 1)
            self.assertEqual(len(job.verify(3)), 3)
            with self.assertRaises(paretod.Refused) as refused:
                paretod.Client(daemon.url).submit(zdt1('random', 2)).surrogate()
            self.assertIn('map', str(refused.exception))
            json.dumps(job.front(source='predicted').document)


if __name__ == '__main__':
    unittest.main(verbosity=2)
