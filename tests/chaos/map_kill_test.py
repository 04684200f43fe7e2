#!/usr/bin/env python3
"""kill -9 of the daemon in every phase of a map job: the design, learning, the leaves and merges of a
tree, verification, the end.  The serial log is that of an undisturbed run.

Kills hit where they are meant to: the evaluator holds a trial of the phase back until the daemon is dead."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import ROOT, Daemon, wait_for  # noqa: E402

SPACE = [{'name': name, 'type': 'real', 'low': 0, 'high': 1} for name in 'xyz']
# Phases by the tags of their trials.
PHASES = {'flat': ['design', 'verify'], 'bayesian': ['design', 'learn', 'verify'],
          'nested': ['leaf', 'nested:', 'verify:', 'nested:', 'verify:']}


def spec(mode):
    return {'optimizer': {'name': 'map', 'params': {'mode': mode, 'tolerance': 0}}, 'evaluator': 'held', 'space': SPACE,
            'budget': {'trials': 60 if mode == 'nested' else 26}, 'parallelism': 1, 'seed': 5}


class Held(Daemon):
    """With an evaluator whose trials can be held back."""

    def __init__(self):
        super().__init__()
        self.gates = self.directory / 'gates'
        self.gates.mkdir()
        program = ROOT / 'tests/support/evaluators/held.py'
        self.config.write_text(json.dumps({'evaluators': {'held': {
            'type': 'process', 'argv': ['python3', str(program), str(self.gates)]}}}))

    def kill_at(self, number):
        wait_for(lambda: (self.gates / f'{number}.held').exists(), f'trial {number} to be asked')
        self.kill()
        (self.gates / str(number)).unlink()
        self.start()


class MapKill(unittest.TestCase):
    maxDiff = 2000

    def phases(self, log):
        """[(tag, numbers of its trials)], in the order of the log."""
        found = []
        for event in map(json.loads, log):
            if event['e'] != 'asked':
                continue
            tag = event.get('tag', '')
            if not found or found[-1][0] != tag:
                found.append((tag, []))
            found[-1][1].append(event['n'])
        return found

    def check(self, mode):
        job_spec = spec(mode)
        with Held() as daemon:
            daemon.start()
            job = daemon.submit(job_spec)
            self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')
            whole = daemon.canonical(job)
        phases = self.phases(whole)
        self.assertEqual(len(phases), len(PHASES[mode]), [tag for tag, _ in phases])
        for (tag, _), expected in zip(phases, PHASES[mode]):
            self.assertTrue(tag.startswith(expected), tag)
        # The first trial of each phase, one within it, and the last of all.
        instants = sorted({numbers[i] for _, numbers in phases for i in (0, len(numbers) // 2)} | {phases[-1][1][-1]})
        with Held() as daemon:
            for number in instants:
                (daemon.gates / str(number)).touch()
            daemon.start()
            job = daemon.submit(job_spec)
            for number in instants:
                daemon.kill_at(number)
            # Once more, between the last result and the end.
            wait_for(lambda: daemon.told(job) == phases[-1][1][-1], 'the last result')
            daemon.kill()
            daemon.start()
            self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')
            self.assertEqual(daemon.canonical(job), whole)
            owners = sum(event['e'] == 'owner' for _, event in daemon.events(job))
            self.assertGreaterEqual(owners, len(instants) + 1)

    def test_flat(self):
        self.check('flat')

    def test_bayesian(self):
        self.check('bayesian')

    def test_nested(self):
        self.check('nested')


if __name__ == '__main__':
    unittest.main(verbosity=2)
