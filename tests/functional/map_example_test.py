#!/usr/bin/env python3
"""config/examples/map-*.json as scripts/run runs them: real merges of real classifiers, natively
scored, and what follows the job."""
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import BINARY, Daemon, ROOT  # noqa: E402

EXAMPLES = ROOT / 'config/examples'


def config():
    """The blocks of the example configuration that merge, as they are but for the folder."""
    blocks = json.loads((EXAMPLES / 'paretod.json').read_text())['evaluators']
    merging = {name: block for name, block in blocks.items() if block['type'] == 'merge'}
    for block in merging.values():
        for field in ('recipe', 'scorer_file'):
            block[field] = str(EXAMPLES / block[field])
    return {'evaluators': merging}


class MapExamples(unittest.TestCase):
    def run_example(self, daemon, name):
        """The job when it has ended, and what was printed after it."""
        environment = {**os.environ, 'PARETOD_URL': daemon.url, 'PARETOD': BINARY}
        subprocess.run([BINARY, 'submit', str(EXAMPLES / f'{name}.json'), '--watch'], env=environment,
                       check=True, capture_output=True, text=True, timeout=300)
        after = subprocess.run([str(EXAMPLES / 'map.after')], env=environment, capture_output=True, text=True,
                               timeout=300)
        self.assertEqual(after.returncode, 0, after.stderr)
        job = json.loads(subprocess.run([BINARY, 'job', 'last', '--json'], env=environment, check=True,
                                        capture_output=True, text=True).stdout)
        return job, after.stdout

    def answers(self, text, task):
        """Predicted, its deviation, measured and held out accuracy at the three preferences."""
        rows = re.findall(rf'^ +{task} +[\d.]+ +([\d.]+) ± ([\d.]+) +([\d.]+) ± [\d.]+ +([\d.]+)$', text, re.M)
        self.assertEqual(len(rows), 3, text)
        return [[float(value) for value in row] for row in rows]

    def test_two_tasks_far_apart(self):
        with Daemon(config()) as daemon:
            daemon.start()
            job, text = self.run_example(daemon, 'map-far')
            self.assertIn('verdict: trade-off', text)
            self.assertEqual(job['progress']['injected_told'], 3)
            normal, rotated = self.answers(text, 'normal'), self.answers(text, 'rotated')
            # The more a task weighs, the better it gets, measured and held out, at the other's cost.
            for column in (2, 3):
                self.assertGreater(normal[0][column], normal[2][column])
                self.assertLess(rotated[0][column], rotated[2][column])
            for mean, deviation, measured, heldout in normal + rotated:
                self.assertLess(abs(measured - mean), 3 * deviation + 0.05)
                self.assertLess(abs(heldout - measured), 0.08)

    def test_four_tasks(self):
        with Daemon(config()) as daemon:
            daemon.start()
            _, text = self.run_example(daemon, 'map-four')
            balanced = [self.answers(text, task)[1] for task in ('normal', 'rotated', 'inverted', 'shifted')]
            # One merge that is good at everything, as no specialist is.
            for _, _, measured, heldout in balanced:
                self.assertGreater(measured, 0.85)
                self.assertGreater(heldout, 0.85)


if __name__ == '__main__':
    unittest.main(verbosity=2)
