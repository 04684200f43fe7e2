#!/usr/bin/env python3
"""The README's example, run as it stands but for the port and the directory."""
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


class Readme(unittest.TestCase):
    def test_from_curl_to_front(self):
        text = (ROOT / 'README.md').read_text()
        script = re.search(r'<!-- quickstart -->\n```bash\n(.*?)```', text, re.S).group(1)
        self.assertLess(len([line for line in script.splitlines() if line.strip() and not line.startswith('#')]), 21)
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = str(free.getsockname()[1])
        with tempfile.TemporaryDirectory() as directory:
            script = script.replace('8780', port).replace('/tmp/paretod-demo', directory + '/state')
            script = script.replace('kill %1; wait', 'kill %1; wait %1; echo "exit status $?"')
            env = {**os.environ, 'PATH': f'{pathlib.Path(BINARY).parent}:{os.environ["PATH"]}',
                   'PARETOD_URL': f'http://127.0.0.1:{port}'}
            done = subprocess.run(['bash', '-m', '-c', script], cwd=directory, env=env, text=True,
                                  capture_output=True, timeout=300)
            self.assertIn('succeeded', done.stdout, done.stderr)
            self.assertIn('trial,x1,', done.stdout)
            self.assertIn('exit status 0', done.stdout, done.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2)
