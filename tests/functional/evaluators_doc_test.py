#!/usr/bin/env python3
"""The first five minutes of docs/evaluators.md, run as they stand but for the port and the package,
which comes from the sources, so that no network is needed."""
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


class EvaluatorsDoc(unittest.TestCase):
    def replaced(self, script, old, new):
        self.assertIn(old, script)
        return script.replace(old, new)

    def test_from_ten_lines_to_a_front(self):
        text = (ROOT / 'docs/evaluators.md').read_text()
        script = re.search(r'<!-- newcomer -->\n```bash\n(.*?)```', text, re.S).group(1)
        program = re.search(r"<<'EVALUATOR'\n(.*?)\nEVALUATOR", script, re.S).group(1)
        self.assertLessEqual(len([line for line in program.splitlines() if line]), 10)
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = str(free.getsockname()[1])
        script = self.replaced(script, '8780', port)
        script = self.replaced(script, '-m venv', '-m venv --without-pip')
        script = self.replaced(
            script, 'pip install ./adapters/python',
            f'echo {ROOT}/adapters/python/src > "$(python3 -c \'import site; print(site.getsitepackages()[0])\')/paretod.pth"')
        script += '\nkill %1; wait %1; echo "exit status $?"\n'
        with tempfile.TemporaryDirectory() as directory:
            env = {**os.environ, 'PATH': f'{pathlib.Path(BINARY).parent}:{os.environ["PATH"]}',
                   'PARETOD_URL': f'http://127.0.0.1:{port}'}
            done = subprocess.run(['bash', '-m', '-c', script], cwd=directory, env=env, text=True,
                                  capture_output=True, timeout=300)
        self.assertIn('chosen: trial ', done.stdout, done.stderr)
        self.assertIn('\nsucceeded\n', done.stdout, done.stderr)
        self.assertIn('exit status 0', done.stdout, done.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2)
