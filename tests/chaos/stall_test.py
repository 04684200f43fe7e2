#!/usr/bin/env python3
"""Stalls and cuts between workers and the daemon: SIGSTOP of either, connections that break in the
middle of anything.  No lease is lost unless its worker was silent for a whole TTL, and every trial
is told once.  PARETOD_CHAOS_CYCLES sets how often."""
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import BINARY, Daemon, check_counts, wait_for  # noqa: E402

CYCLES = int(os.environ.get('PARETOD_CHAOS_CYCLES', '6'))
TTL = 2
PROGRAM = '''
import json, sys, time
print(json.dumps({'paretod': 1, 'type': 'hello', 'slots': 1, 'evaluator': 'slow'}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request['type'] == 'evaluate':
        time.sleep(0.02)
        print(json.dumps({'type': 'result', 'id': request['id'],
                          'objectives': {'f': request['candidate']['x']}}), flush=True)
'''


class Proxy:
    """Passes connections on to the daemon until they are cut."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{self.listener.getsockname()[1]}'
        self.lock = threading.Lock()
        self.open = set()
        self.closed = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.closed:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            with self.lock:
                self.open |= {client, server}
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=pair, daemon=True).start()

    def copy(self, source, sink):
        try:
            while data := source.recv(64):  # small pieces, so that a cut falls within messages
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        with self.lock:
            self.open -= {source, sink}
        source.close()

    def close(self):
        self.closed = True
        self.listener.close()
        self.cut()

    def cut(self):
        with self.lock:
            for end in self.open:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Stall(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon({'evaluators': {'slow': {'type': 'workers', 'slots': 8}},
                              'limits': {'lease_ttl_s': TTL}})
        self.enterContext(self.daemon)
        self.daemon.start()
        folder = self.daemon.directory
        (folder / 'slow.py').write_text(PROGRAM)
        (folder / 'worker.json').write_text(json.dumps({'evaluators': {'slow': {
            'type': 'process', 'argv': [sys.executable, 'slow.py'], 'processes': 4}}}))
        self.processes = []
        self.addCleanup(self.end_processes)

    def end_processes(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def worker(self, name, url):
        log = open(self.daemon.directory / f'{name}.log', 'ab')
        self.addCleanup(log.close)
        self.processes.append(subprocess.Popen(
            [BINARY, 'worker', '--daemon', url, '--evaluator', 'slow', '--name', name,
             '--config', str(self.daemon.directory / 'worker.json'),
             '--state', str(self.daemon.directory / 'workers')], stderr=log))
        return self.processes[-1]

    def submit(self, trials):
        return self.daemon.submit({
            'optimizer': 'random', 'evaluator': 'slow', 'seed': 7, 'budget': {'trials': trials},
            'space': [{'name': 'x', 'type': 'real', 'low': 0, 'high': 1}],
            'objectives': [{'name': 'f'}]})

    def lost(self, job):
        return [event for _, event in self.daemon.events(job)
                if event['e'] == 'ended' and event['end'] == 'lost']

    def test_a_daemon_that_stood_still_blames_nobody(self):
        self.worker('a', self.daemon.url)
        job = self.submit(400)
        for _ in range(max(1, CYCLES // 3)):
            told = self.daemon.told(job)
            wait_for(lambda: self.daemon.told(job) > told + 10, 'progress')
            self.daemon.process.send_signal(signal.SIGSTOP)
            time.sleep(2 * TTL)  # the stall itself
            self.daemon.process.send_signal(signal.SIGCONT)
        self.assertEqual(self.daemon.wait_finished(job)['status'], 'succeeded')
        self.assertEqual(self.lost(job), [])
        check_counts(self, self.daemon, job, 400)

    def test_a_worker_that_stood_still(self):
        worker = self.worker('a', self.daemon.url)
        job = self.submit(300)
        for stall in (TTL / 4, 2.5 * TTL):
            told = self.daemon.told(job)
            wait_for(lambda: self.daemon.told(job) > told + 10, 'progress')
            worker.send_signal(signal.SIGSTOP)
            time.sleep(stall)
            lost = self.lost(job)
            worker.send_signal(signal.SIGCONT)
            if stall < TTL:
                self.assertEqual(lost, [])
            else:
                self.assertGreater(len(lost), 0)
        self.assertEqual(self.daemon.wait_finished(job)['status'], 'succeeded')
        check_counts(self, self.daemon, job, 300)

    def test_connections_that_break_at_any_byte(self):
        host, port = self.daemon.url.removeprefix('http://').split(':')
        proxies = [Proxy((host, int(port))) for _ in range(2)]
        for index, proxy in enumerate(proxies):
            self.addCleanup(proxy.close)
            self.worker(f'w{index}', proxy.url)
        trials = 150 * CYCLES
        job = self.submit(trials)
        chance = random.Random(5)
        cuts = 0
        while not self.daemon.finished(job):
            time.sleep(chance.uniform(0, 0.1))  # when, not whether, a cut comes
            chance.choice(proxies).cut()
            cuts += 1
        self.assertGreaterEqual(cuts, CYCLES)
        check_counts(self, self.daemon, job, trials)
        told = [event.get('a', 1) for _, event in self.daemon.events(job) if event['e'] == 'told']
        # A grant whose answer was cut is asked for again and not given anew.
        ended = [event for _, event in self.daemon.events(job) if event['e'] == 'ended']
        self.assertEqual(set(told), {1}, ended[:3])


if __name__ == '__main__':
    unittest.main(verbosity=2)
