#!/usr/bin/env python3
"""The commands of docs/diffusion.md, run as they stand but for the port and the checkout."""
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
        costs = [int(cost) for cost in re.findall(r' ± [\d.]+ +(\d+)  \d', done.stdout.split('front of')[-1])]
        self.assertTrue(costs, done.stdout)
        self.assertLessEqual(max(costs), 24)
        self.assertIn('exit status 0', done.stdout, done.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2)
