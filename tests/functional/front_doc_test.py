#!/usr/bin/env python3
"""The examples of docs/front.md, run as they stand but for the port."""
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import BINARY, Daemon, ROOT  # noqa: E402


class FrontDoc(unittest.TestCase):
    def run_example(self, name, daemon):
        text = (ROOT / 'docs' / 'front.md').read_text()
        script = re.search(rf'<!-- {name} -->\n```bash\n(.*?)```', text, re.S).group(1)
        daemon.start()
        script = script.replace('http://127.0.0.1:8780', daemon.url)
        env = {**os.environ, 'PATH': f'{pathlib.Path(BINARY).parent}:{os.environ["PATH"]}',
               'PARETOD_URL': daemon.url}
        done = subprocess.run(['bash', '-euo', 'pipefail', '-c', script], cwd=daemon.directory, env=env,
                              text=True, capture_output=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_predicted(self):
        with Daemon() as daemon:
            done = self.run_example('example: predicted', daemon)
            self.assertIn('surrogate fitted by map', done.stdout)
            self.assertIn('verdict: trade-off', done.stdout)
            self.assertEqual(done.stdout.count('\nchosen (predicted): f1 '), 2, done.stdout)
            self.assertIn('"source":"predicted"', done.stdout)
            self.assertIn('f1 predicted', done.stdout)
            rows = (daemon.directory / 'predicted.csv').read_text().splitlines()
            self.assertTrue(rows[0].startswith('source,x,y,z,f1,f1_sd,f1_sd_mean,f2,f2_sd,f2_sd_mean,nearest_trial'))
            self.assertTrue(rows[1].startswith('predicted,') and rows[1].endswith(',1'))

    def test_examples(self):
        with Daemon() as daemon:
            done = self.run_example('example', daemon)
            self.assertIn('succeeded', done.stdout)
            self.assertEqual(done.stdout.count('\nchosen: trial '), 4, done.stdout)
            self.assertIn('as of trial 100', done.stdout)
            self.assertIn('confidence of 95%', done.stdout)
            self.assertIn('"method":"chebyshev"', done.stdout)
            self.assertIn('"reference_point":{"f1":1.0,"f2":7.0}', done.stdout)
            rows = (daemon.directory / 'front.csv').read_text().splitlines()
            self.assertTrue(rows[0].endswith(',chosen'))
            self.assertTrue(rows[1].endswith(',1'))
            self.assertTrue(all(row.endswith(',0') for row in rows[2:]))


if __name__ == '__main__':
    unittest.main(verbosity=2)
