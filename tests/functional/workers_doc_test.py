#!/usr/bin/env python3
"""docs/workers.md: its example run as it stands but for the port, and the command line of the
Kubernetes Deployment with its files elsewhere."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import BINARY, ROOT, Daemon, check_counts, wait_for  # noqa: E402

SPHERE = ROOT / 'config/examples/evaluators/sphere.py'


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


class WorkersDoc(unittest.TestCase):
    def test_example(self):
        text = (ROOT / 'docs/workers.md').read_text()
        script = re.search(r'<!-- example -->\n```bash\n(.*?)```', text, re.S).group(1)
        environment = {**os.environ, 'PATH': f'{pathlib.Path(BINARY).parent}:{os.environ["PATH"]}'}
        port = free_port()
        environment['PARETOD_URL'] = f'http://127.0.0.1:{port}'
        with tempfile.TemporaryDirectory() as directory:
            shutil.copy(SPHERE, directory)
            done = subprocess.run(
                ['bash', '-euo', 'pipefail', '-c', script.replace('8780', port)], cwd=directory,
                env=environment, text=True, capture_output=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('succeeded', done.stdout, done.stderr)
        ended = [int(n) for n in re.findall(r'(\d+) attempts ended$', done.stderr, re.M)]
        self.assertEqual(len(ended), 2, done.stderr)
        self.assertEqual(sum(ended), 200, done.stderr)

    def test_command_line_of_the_deployment(self):
        text = (ROOT / 'config/deploy/kubernetes-worker.yaml').read_text()
        block = re.search(r'\n +args:\n((?: +- .*\n)+)', text).group(1)
        words = [line.strip().removeprefix('- ') for line in block.splitlines()]
        grace = int(re.search(r'--grace=(\d+)', block).group(1))
        killed = int(re.search(r'terminationGracePeriodSeconds: (\d+)', text).group(1))
        self.assertGreater(killed, grace)
        hello = subprocess.run(['python3', str(SPHERE)], stdin=subprocess.DEVNULL, check=True,
                               capture_output=True).stdout
        token = 'a token of a worker'
        with Daemon({'evaluators': {'sphere-far': {'type': 'workers', 'hello': 'hello.json'}},
                     'listen': {'token_file': 'token', 'worker_token_file': 'token-of-workers'}}) as daemon:
            folder = daemon.directory
            (folder / 'hello.json').write_bytes(hello)
            (folder / 'token').write_text('a token of a person')
            (folder / 'token-of-workers').write_text(token)
            shutil.copy(SPHERE, folder)
            (folder / 'worker.json').write_text(json.dumps(
                {'evaluators': {'sphere-far': {'type': 'process', 'argv': ['python3', 'sphere.py']}}}))
            daemon.token = 'a token of a person'
            daemon.start()
            job = daemon.submit({'optimizer': 'random', 'evaluator': 'sphere-far', 'seed': 1,
                                 'budget': {'trials': 50}})
            words = [word.replace('/etc/paretod', str(folder))
                         .replace('/var/lib/paretod/state', str(folder / 'worker-state'))
                     for word in words]
            environment = {'PATH': os.environ['PATH'], 'PARETOD_URL': daemon.url,
                           'PARETOD_TOKEN_FILE': str(folder / 'token-of-workers')}
            worker = subprocess.Popen([BINARY, *words], env=environment, stderr=subprocess.PIPE, text=True)
            try:
                self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')
                check_counts(self, daemon, job, 50)
                worker.send_signal(signal.SIGTERM)
                _, said = worker.communicate(timeout=60)
            finally:
                worker.kill()
            self.assertEqual(worker.returncode, 0, said)
            self.assertIn('50 attempts ended', said)


if __name__ == '__main__':
    unittest.main(verbosity=2)
