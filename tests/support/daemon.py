"""The real daemon for functional and chaos tests: start, talk, kill, look at its log."""
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get('PARETOD_BINARY', str(ROOT / 'build/release/daemon/paretod'))


def wait_for(condition, what, seconds=60):
    """Waits until condition() is true; a time limit only turns a hang into a failure."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f'still waiting for {what}')
        time.sleep(0.005)


class Daemon:
    """One state directory and the daemons that come and go over it."""

    def __init__(self, config=None, args=()):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='paretod-'))
        self.state = self.directory / 'state'
        self.config = self.directory / 'paretod.json'
        self.config.write_text(json.dumps(config or {}))
        self.args = list(args)
        self.process = None
        self.token = None  # sent with every request
        self.log = self.directory / 'daemon.log'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, ready=True):
        (self.state / 'address').unlink(missing_ok=True)
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                [BINARY, 'serve', '--config', str(self.config), '--state-dir', str(self.state),
                 '--port', '0', *self.args], stdout=log, stderr=log)
        if ready:
            wait_for(self.answers, f'the daemon to answer; its log: {self.log.read_text()[-2000:]}')
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f'the daemon ended: {self.log.read_text()[-2000:]}')
        try:
            return (self.state / 'address').exists() and self.get('/healthz')['status'] == 'ok'
        except OSError:
            return False

    @property
    def url(self):
        return (self.state / 'address').read_text().strip()

    def request(self, method, path, body=None, headers=None):
        """(status, decoded body or text, headers)"""
        host = self.url.removeprefix('http://')
        connection = http.client.HTTPConnection(host, timeout=60)
        try:
            text = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
            all_headers = {'Content-Type': 'application/json'} if text is not None else {}
            if self.token:
                all_headers['Authorization'] = f'Bearer {self.token}'
            connection.request(method, path, text, {**all_headers, **(headers or {})})
            reply = connection.getresponse()
            raw = reply.read().decode()
            kind = reply.getheader('Content-Type') or ''
            return reply.status, json.loads(raw) if 'json' in kind and 'ndjson' not in kind else raw, reply.headers
        finally:
            connection.close()

    def get(self, path):
        status, body, _ = self.request('GET', path)
        assert status == 200, (status, body)
        return body

    def submit(self, spec):
        status, body, _ = self.request('POST', '/v1/jobs', spec)
        assert status == 201, (status, body)
        return body['id']

    def job(self, job):
        return self.get(f'/v1/jobs/{job}')

    def told(self, job):
        return self.job(job)['progress']['told']

    def finished(self, job):
        return self.job(job)['status'] in ('succeeded', 'failed', 'cancelled', 'diverged')

    def wait_finished(self, job, seconds=300):
        wait_for(lambda: self.finished(job), f'{job} to finish', seconds)
        return self.job(job)

    def events(self, job):
        """The whole log: (id, event) pairs."""
        events, after = [], None
        while True:
            path = f'/v1/jobs/{job}/export?limit=10000' + (f'&after={after}' if after else '')
            status, text, headers = self.request('GET', path)
            assert status == 200, (status, text)
            for line in text.splitlines():
                entry = json.loads(line)
                events.append((entry['id'], entry['event']))
            after = headers.get('Paretod-Next')
            if not after:
                return events

    def canonical(self, job):
        """What the search is responsible for: no owners, times, durations."""
        lines = []
        for _, event in self.events(job):
            if event['e'] == 'owner':
                continue
            event.pop('t')
            if event['e'] == 'told':
                event.pop('s', None)
            lines.append(json.dumps(event, sort_keys=True))
        return lines

    def redis_pid(self):
        """The private redis-server: a child of the daemon."""
        for entry in pathlib.Path('/proc').iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / 'stat').read_text().rsplit(')', 1)[1].split()
                name = (entry / 'comm').read_text().strip()
            except OSError:
                continue
            if name.startswith('redis') and int(fields[1]) == self.process.pid and fields[0] != 'Z':
                return int(entry.name)
        return None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)


def check_counts(test, daemon, job, trials):
    """Nothing lost, nothing doubled."""
    asked, told = [], []
    for _, event in daemon.events(job):
        if event['e'] == 'asked':
            asked.append(event['n'])
        elif event['e'] == 'told':
            told.append(event['n'])
    test.assertEqual(asked, list(range(1, trials + 1)))
    test.assertEqual(sorted(told), asked)


def kill_instants(seed):
    """How many more results to wait for before the next kill."""
    return random.Random(seed)
