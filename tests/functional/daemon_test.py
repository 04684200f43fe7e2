#!/usr/bin/env python3
"""The real binary with a real redis-server: life of a job, restarts, bad input, bad surroundings."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import BINARY, ROOT, Daemon, check_counts, wait_for  # noqa: E402

SLOW = {'optimizer': 'random', 'evaluator': {'name': 'zdt1', 'params': {'delay_ms': 20}},
        'budget': {'trials': 100000}, 'parallelism': 2, 'seed': 1}
QUICK = {'optimizer': 'random', 'evaluator': 'zdt1', 'budget': {'trials': 200}, 'parallelism': 8,
         'seed': 1}


class Life(unittest.TestCase):
    def test_a_job_from_post_to_front(self):
        with Daemon() as daemon:
            daemon.start()
            job = daemon.submit(QUICK)
            self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')
            front = daemon.get(f'/v1/jobs/{job}/front')
            self.assertGreater(len(front['points']), 3)
            values = [(p['objectives']['f1']['value'], p['objectives']['f2']['value'])
                      for p in front['points']]
            for a in values:
                self.assertFalse(any(b[0] <= a[0] and b[1] <= a[1] and b != a for b in values))
            check_counts(self, daemon, job, 200)
            self.assertEqual(daemon.stop(), 0)

    def test_a_clean_stop_and_restart_goes_on(self):
        with Daemon() as daemon:
            daemon.start()
            job = daemon.submit(SLOW)
            wait_for(lambda: daemon.told(job) > 10, 'progress')
            self.assertEqual(daemon.stop(), 0)
            self.assertFalse((daemon.state / 'address').exists())
            daemon.start()
            before = daemon.told(job)
            self.assertGreater(before, 10)
            wait_for(lambda: daemon.told(job) > before + 10, 'progress after the restart')
            self.assertEqual(daemon.request('POST', f'/v1/jobs/{job}:pause')[0], 200)
            self.assertEqual(daemon.job(job)['status'], 'paused')
            self.assertEqual(daemon.stop(), 0)
            daemon.start()
            self.assertEqual(daemon.job(job)['status'], 'paused')
            self.assertEqual(
                daemon.request('POST', f'/v1/jobs/{job}:extend', {'budget': {'trials': 120}})[0], 200)
            self.assertEqual(daemon.request('POST', f'/v1/jobs/{job}:resume')[0], 200)
            self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')

    def test_an_export_replays(self):
        with Daemon() as daemon:
            daemon.start()
            job = daemon.submit(QUICK)
            daemon.wait_finished(job)
            out = daemon.directory / 'log.ndjson'
            env = {**os.environ, 'PARETOD_URL': daemon.url}
            subprocess.run([BINARY, 'export', job, '-o', str(out)], env=env, check=True)
            done = subprocess.run([BINARY, 'replay', str(out)], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn('200 trials', done.stdout)
            lines = out.read_text().splitlines()
            changed = json.loads(lines[40])
            self.assertIn(changed['event']['e'], ('asked', 'told'))
            for i, line in enumerate(lines):
                entry = json.loads(line)
                if entry['event']['e'] == 'asked' and entry['event']['n'] == 50:
                    p = entry['event']['p']
                    entry['event']['p'] = p[:3] + ('A' if p[3] != 'A' else 'B') + p[4:]
                    lines[i] = json.dumps(entry)
            out.write_text('\n'.join(lines))
            done = subprocess.run([BINARY, 'replay', str(out)], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn('trial 50', done.stderr)

    def test_events_resume_without_gap_or_repeat(self):
        with Daemon() as daemon:
            daemon.start()
            job = daemon.submit(QUICK)
            daemon.wait_finished(job)
            whole = [i for i, _ in daemon.events(job)]
            after = whole[len(whole) // 2]
            status, text, _ = daemon.request('GET', f'/v1/jobs/{job}/events',
                                             headers={'Last-Event-ID': after})
            self.assertEqual(status, 200)
            ids = [line[4:] for line in text.splitlines() if line.startswith('id: ')]
            self.assertEqual(ids, whole[len(whole) // 2 + 1:])


class Surroundings(unittest.TestCase):
    """What goes wrong around a daemon is said, with what to do, and with exit status 1."""

    def refused(self, *args, config='{}', directory=None, expect, env=None):
        directory = directory or tempfile.mkdtemp(prefix='paretod-')
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        path = pathlib.Path(directory) / 'config.json'
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        command = [BINARY, 'serve', '--config', str(path)]
        if '--state-dir' not in args:
            command += ['--state-dir', str(pathlib.Path(directory) / 'state')]
        done = subprocess.run([*command, '--port', '0', *args] if '--port' not in args
                              else [*command, *args],
                              capture_output=True, text=True, timeout=120, env=env)
        self.assertEqual(done.returncode, 1, done.stderr)
        for text in ([expect] if isinstance(expect, str) else expect):
            self.assertIn(text, done.stderr)

    def test_configuration_errors_name_the_field(self):
        self.refused(config='{"listen": {"prot": 1}}', expect='/listen/prot')
        self.refused(config='{"listen": {"port": "x"}}', expect='/listen/port')
        self.refused(config='{"listen": {"address": "0.0.0.0"}}', expect='/listen/token_file')
        self.refused(config='{"evaluators": {"e": {"type": "nope"}}}', expect='/evaluators/e/type')
        self.refused(config='{"evaluators": {"e": {"type": "diffusion", "model": "no/where.json"}}}',
                     expect='no/where.json')
        self.refused(config='{', expect='line 1')
        self.refused(config='{"log": {"level": "loud"}}', expect='/log/level')

    def test_a_token_ends_before_the_spaces_of_its_line(self):
        with Daemon() as daemon:
            file = daemon.directory / 'token'
            file.write_bytes(b'0123456789abcdef \t\r\nthe second line')
            daemon.config.write_text(json.dumps({'listen': {'token_file': str(file)}}))
            daemon.start()
            ask = lambda token: daemon.request('GET', '/v1/jobs', headers={'Authorization': f'Bearer {token}'})[0]
            self.assertEqual(ask('0123456789abcdef'), 200)
            self.assertEqual(ask('0123456789abcde'), 401)

    def test_an_evaluator_that_does_not_start_stops_only_its_own_jobs(self):
        sphere = {'type': 'process', 'argv': ['python3', str(ROOT / 'config/examples/evaluators/sphere.py')]}
        broken = {'type': 'process', 'argv': [
            'python3', '-c', 'import sys; print("no such module", file=sys.stderr); sys.exit(3)']}
        job = {'optimizer': 'random', 'evaluator': 'e', 'budget': {'trials': 1_000_000}, 'seed': 1}
        with Daemon({'evaluators': {'e': sphere}}) as daemon:
            daemon.start()
            begun = daemon.submit(job)
            wait_for(lambda: daemon.told(begun) > 0, 'a trial')
            daemon.kill()
            daemon.config.write_text(json.dumps({'evaluators': {'e': broken}}))
            daemon.start()
            for text in ('an evaluator does not start', '/argv', 'no such module'):
                self.assertIn(text, daemon.log.read_text())
            self.assertIn('did not start', json.dumps(daemon.job(begun)['conditions']))
            self.assertGreater(len(daemon.get(f'/v1/jobs/{begun}/front')['points']), 0)
            status, problem, _ = daemon.request('POST', '/v1/jobs', job)
            self.assertEqual(status, 422)
            self.assertIn('no such module', json.dumps(problem))
            self.assertEqual(daemon.wait_finished(daemon.submit(QUICK))['status'], 'succeeded')
            daemon.kill()
            daemon.config.write_text(json.dumps({'evaluators': {'e': sphere}}))
            daemon.start()
            told = daemon.told(begun)
            wait_for(lambda: daemon.told(begun) > told, 'the job to go on')

    def test_a_port_that_is_taken(self):
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            self.refused('--port', str(taken.getsockname()[1]), expect='another program uses this port')

    def test_a_state_directory_that_is_in_use(self):
        with Daemon() as daemon:
            daemon.start()
            self.refused('--state-dir', str(daemon.state), expect=str(daemon.process.pid))
            self.assertEqual(daemon.get('/healthz')['status'], 'ok')

    def test_a_redis_that_is_not_there(self):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        self.refused('--redis-url', f'redis://127.0.0.1:{port}', expect=f'127.0.0.1:{port}')
        self.refused('--redis-url', 'http://example.invalid', expect='redis://')


class External(unittest.TestCase):
    """An external Redis: with a password, with the wrong policy, as a replica."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='paretod-redis-'))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def redis(self, *options):
        path = self.directory / f'redis{len(options)}.sock'
        process = subprocess.Popen(
            ['redis-server', '--port', '0', '--unixsocket', str(path), '--dir',
             str(self.directory), '--save', '', *options], stdout=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_for(path.exists, 'redis')
        return path

    def refused(self, url, expect):
        Surroundings.refused(self, '--redis-url', url, expect=expect)

    def test_password(self):
        path = self.redis('--requirepass', 'sesame-open', '--appendonly', 'yes', '--appendfsync',
                          'always', '--maxmemory-policy', 'noeviction')
        self.refused(f'redis+unix://{path}', expect='password')
        with Daemon(args=['--redis-url', f'redis+unix://:sesame-open@{path}']) as daemon:
            daemon.start()
            job = daemon.submit(QUICK)
            self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')
            self.assertNotIn('sesame', daemon.log.read_text())
            self.assertEqual(daemon.stop(), 0)

    def test_eviction_policy(self):
        path = self.redis('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru')
        self.refused(f'unix://{path}', expect='noeviction')


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(config={'evaluators': {'digits': {
            'type': 'diffusion', 'model': str(ROOT / 'config/examples/data/digits/model.json')}}})
        cls.daemon.start()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__()

    def refused(self, body, status, pointer=None, text=None):
        got, problem, headers = self.daemon.request('POST', '/v1/jobs', body)
        self.assertEqual(got, status, problem)
        self.assertEqual(headers['Content-Type'], 'application/problem+json')
        if pointer is not None:
            self.assertIn(pointer, [p['pointer'] for p in problem['problems']], problem)
        if text is not None:
            self.assertIn(text, json.dumps(problem))

    def test_every_kind(self):
        job = dict(QUICK)
        real = {'name': 'x', 'type': 'real', 'low': 0, 'high': 1}
        self.refused('{"optimizer": NaN}', 400)
        self.refused('[' * 1000, 400)
        self.refused('{"a":1,"a":2}', 400, text='a')
        self.refused('x' * (1 << 20) + 'yy', 413)
        self.refused({**job, 'optimiser': 1}, 422, '/optimiser')
        self.refused({**job, 'optimizer': 'nope'}, 422, '/optimizer', 'random')
        self.refused({**job, 'evaluator': 'nope'}, 422, '/evaluator', 'zdt1')
        self.refused({**job, 'seed': 'one'}, 422, '/seed')
        self.refused({**job, 'budget': {'trials': 0}}, 422, '/budget/trials')
        self.refused({**job, 'parallelism': 0}, 422, '/parallelism')
        self.refused({**job, 'space': []}, 422, '/space')
        self.refused({**job, 'space': [real, real]}, 422, '/space/1/name')
        self.refused({**job, 'space': [{**real, 'low': 2}]}, 422, '/space/0/low')
        self.refused({**job, 'name': 'a/b'}, 422, '/name')
        self.refused({**job, 'optimizer': {'name': 'random', 'params': {'x': 1}}}, 422,
                     '/optimizer/params/x')
        self.refused({'optimizer': 'lcsc', 'evaluator': 'zdt1'}, 422, '/space')
        self.refused({'optimizer': 'lcsc', 'evaluator': 'lcsc-toy',
                      'space': [{'name': 'alpha', 'type': 'affine', 'size': 1}]}, 422,
                     '/space/0/size')
        self.refused({'optimizer': 'lcsc', 'evaluator': 'digits', 'budget': {'trials': 10}}, 422,
                     '/budget/trials')
        self.refused({'optimizer': 'lcsc', 'evaluator': 'digits',
                      'space': [{'name': 'alpha', 'type': 'affine', 'size': 7}]}, 422, '/space/0/size')
        self.assertEqual(self.daemon.get('/v1/jobs')['jobs'], [])

    def test_unknown_things(self):
        for path in ('/v1/jobs/nope', '/v1/nope', '/v1/jobs/nope/front'):
            status, problem, _ = self.daemon.request('GET', path)
            self.assertEqual(status, 404, problem)
        self.assertEqual(self.daemon.request('DELETE', '/v1/jobs')[0], 405)


if __name__ == '__main__':
    unittest.main(verbosity=2)
