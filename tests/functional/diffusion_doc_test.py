#!/usr/bin/env python3
"""The commands of docs/diffusion.md, run as they stand but for the port and the checkout; and the
program that draws from schedules for the example's picture."""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import BINARY, ROOT  # noqa: E402


class DiffusionDoc(unittest.TestCase):
    def test_a_schedule_is_searched(self):
        text = (ROOT / 'docs/diffusion.md').read_text()
        script = re.search(r'<!-- diffusion -->\n```bash\n(.*?)```', text, re.S).group(1)
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = str(free.getsockname()[1])
        for old, new in (('8780', port), ('CHECKOUT', str(ROOT))):
            self.assertIn(old, script)
            script = script.replace(old, new)
        script += '\nkill %1; wait %1; echo "exit status $?"\n'
        with tempfile.TemporaryDirectory() as directory:
            env = {**os.environ, 'PATH': f'{pathlib.Path(BINARY).parent}:{os.environ["PATH"]}',
                   'PARETOD_URL': f'http://127.0.0.1:{port}'}
            done = subprocess.run(['bash', '-m', '-c', script], cwd=directory, env=env, text=True,
                                  capture_output=True, timeout=600)
        self.assertIn('(succeeded): front of ', done.stdout, done.stderr)
        self.assertRegex(done.stdout, r'found.* ± ')
        costs = [int(cost) for cost in re.findall(r' ± [\d.]+ +(\d+)  +\d', done.stdout.split('front of')[-1])]
        self.assertTrue(costs, done.stdout)
        self.assertLessEqual(max(costs), 24)
        self.assertIn('exit status 0', done.stdout, done.stderr)


class ScheduleSamples(unittest.TestCase):
    def ask(self, request, evaluator='digits-schedule'):
        program = pathlib.Path(BINARY).parent.parent / 'evaluators/paretod-schedule-samples'
        return subprocess.run([program, ROOT / 'config/examples/paretod.json', evaluator],
                              input=json.dumps(request), text=True, capture_output=True)

    def test_it_scores_and_draws(self):
        done = self.ask({'schedules': [[{'at': 331, 'mask': []}, {'at': 799, 'mask': ['block-3']}],
                                       [{'at': 499, 'mask': []}, {'at': 999, 'mask': []}]],
                         'replicates': [7, 8, 9], 'samples': 200, 'images': 3, 'threads': 2})
        found, uniform = json.loads(done.stdout)['schedules']
        self.assertEqual((found['calls'], found['blocks'], uniform['blocks']), (2, 15, 16))
        for fd, other in zip(found['fd'], uniform['fd'], strict=True):
            self.assertLess(fd, other)  # the same noise
        self.assertEqual(len(found['fd_heldout']), 3)
        self.assertEqual([len(image) for image in found['images']], [64, 64, 64])
        self.assertLessEqual({value for image in found['images'] for value in image}, set(range(256)))
        self.assertNotEqual(found['images'], uniform['images'])

    def test_it_says_what_is_wrong(self):
        fine = {'schedules': [], 'replicates': [1]}
        for request, words in (({**fine, 'replicates': []}, '/replicates'), ({**fine, 'sample': 3}, '/sample'),
                               ({**fine, 'samples': 1}, '/samples'), ({'replicates': [1]}, '/schedules'),
                               ({**fine, 'schedules': [[{'at': 5, 'mask': ['block-9']}, 7]]}, '/schedules/0')):
            done = self.ask(request)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)
        self.assertIn('no diffusion-schedule evaluator', self.ask(fine, 'digits').stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2)
