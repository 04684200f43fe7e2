#!/usr/bin/env python3
"""Attempts with the real daemon: what they wrote, how far they are, racing, crashes that cost."""
import json
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import BINARY, Daemon, wait_for  # noqa: E402

# Reports partial results until it is told to stop; large x is bad, so it is soon dominated.
RACER = '''
import json, select, sys
print(json.dumps({'paretod': 1, 'type': 'hello', 'slots': 1, 'evaluator': 'racer',
                  'space': [{'name': 'x', 'type': 'integer', 'low': 0, 'high': 100}],
                  'objectives': [{'name': 'loss'}]}), flush=True)
while line := sys.stdin.readline():
    request = json.loads(line)
    if request['type'] != 'evaluate':
        continue
    x = request['candidate']['x']
    print(f"evaluating {x}", file=sys.stderr, flush=True)
    n = 0
    cancelled = False
    while n < 1000 and not cancelled:
        n += 100
        print(json.dumps({'type': 'progress', 'id': request['id'], 'done': n / 1000,
                          'partial': {'loss': {'value': x, 'stderr': 1, 'n': n}}}), flush=True)
        # A dominated one works until it is stopped.
        wait = 10 if x > 20 and n >= 200 else 0.01
        if select.select([sys.stdin], [], [], wait)[0]:
            cancelled = json.loads(sys.stdin.readline())['type'] == 'cancel'
    if cancelled:
        print(json.dumps({'type': 'error', 'id': request['id'], 'kind': 'fatal',
                          'message': 'cancelled'}), flush=True)
    else:
        print(json.dumps({'type': 'result', 'id': request['id'], 'objectives': {
            'loss': {'value': x, 'stderr': 0.5, 'n': n}}}), flush=True)
'''

# Charges money, and dies without a word at every seventh trial.
PAID = '''
import json, os, sys
print(json.dumps({'paretod': 1, 'type': 'hello', 'slots': 1, 'evaluator': 'paid', 'paid': True,
                  'currency': 'USD', 'worst_case': {'money_micros': 1000},
                  'space': [{'name': 'x', 'type': 'real', 'low': 0, 'high': 1}],
                  'objectives': [{'name': 'y'}]}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request['type'] != 'evaluate':
        continue
    with open(sys.argv[1], 'a') as bill:
        bill.write(request['id'] + chr(10))
    if int(request['id'].split(':')[1]) % 7 == 0:
        os._exit(1)
    print(json.dumps({'type': 'result', 'id': request['id'], 'cost': {'money_micros': 400},
                      'objectives': {'y': request['candidate']['x']}}), flush=True)
'''


class Attempts(unittest.TestCase):
    def daemon_with(self, name, program, **block):
        daemon = Daemon()
        self.enterContext(daemon)
        script = daemon.directory / f'{name}.py'
        script.write_text(program)
        argv = [sys.executable, str(script), str(daemon.directory / 'bill')]
        daemon.config.write_text(json.dumps(
            {'evaluators': {name: {'type': 'process', 'argv': argv, **block}}}))
        return daemon.start()

    def test_racing_stops_what_is_dominated_and_logs_are_shown(self):
        daemon = self.daemon_with('racer', RACER)
        job = daemon.submit({'optimizer': 'random', 'evaluator': 'racer', 'seed': 1,
                             'initial': [{'x': 3}, {'x': 90}], 'budget': {'trials': 12},
                             'racing': {'confidence': 0.999, 'minimum': 50}})
        self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')
        trials = daemon.get(f'/v1/jobs/{job}/trials')['trials']
        stopped = [t for t in trials if 'stopped_at' in t['outcome']['metrics']]
        self.assertIn(2, [t['number'] for t in stopped])
        for trial in stopped:
            self.assertEqual(trial['status'], 'ok')
            self.assertLess(trial['outcome']['objectives']['loss']['n'], 1000)
            self.assertGreater(trial['candidate']['x'], 3)
        for trial in trials:
            self.assertEqual(trial['outcome']['objectives']['loss']['value'],
                             trial['candidate']['x'])
        shown = subprocess.run([BINARY, 'trials', job, '--log', '2', '--url', daemon.url],
                               text=True, capture_output=True, check=True).stdout
        self.assertIn('evaluating 90', shown)
        log = daemon.get(f'/v1/jobs/{job}/trials/1/log')
        self.assertEqual(log['attempts'][0]['log'], 'evaluating 3\n')

    def test_progress_is_shown_while_an_attempt_runs(self):
        daemon = self.daemon_with('racer', RACER)
        job = daemon.submit({'optimizer': 'random', 'evaluator': 'racer', 'seed': 1,
                             'initial': [{'x': 90}], 'budget': {'trials': 2}})

        def shown():
            status, trial, _ = daemon.request('GET', f'/v1/jobs/{job}/trials/1')
            return trial if status == 200 and 'progress' in trial else None
        trial = wait_for(shown, 'progress')
        self.assertEqual(trial['status'], 'asked')
        self.assertEqual(trial['progress']['objectives']['loss']['value'], 90)
        self.assertEqual(daemon.request('POST', f'/v1/jobs/{job}:cancel')[0], 200)

    def test_a_budget_holds_though_the_evaluator_dies_unpaid_for(self):
        daemon = self.daemon_with('paid', PAID, processes=4)
        job = daemon.submit({'optimizer': 'random', 'evaluator': 'paid', 'seed': 1,
                             'budget': {'trials': 10000, 'money': '0.05 USD'},
                             'max_failure_share': 1})
        done = wait_for(lambda: next(
            (j for j in [daemon.job(job)] if j['status'] == 'paused'), None), 'the pause')
        self.assertIn('money', done['status_reason'])
        self.check_bill(daemon, job)
        spent = float(done['progress']['budgets']['money']['spent'].split()[0])
        self.assertLessEqual(spent, 0.05)
        self.assertGreater(spent, 0.048)
        extended = subprocess.run(
            [BINARY, 'extend', job, '--money', '0.06 USD', '--url', daemon.url],
            text=True, capture_output=True)
        self.assertEqual(extended.returncode, 0, extended.stderr)
        wait_for(lambda: float(daemon.job(job)['progress']['budgets']['money']['spent'].split()[0])
                 > 0.058, 'the rest')

    def test_kill_9_of_the_daemon_pays_nothing_twice(self):
        daemon = self.daemon_with('paid', PAID, processes=2)
        job = daemon.submit({'optimizer': 'random', 'evaluator': 'paid', 'seed': 1,
                             'budget': {'trials': 120, 'money': '1 USD'}, 'max_failure_share': 1})
        for goal in (10, 30, 50):
            wait_for(lambda: daemon.told(job) >= goal, 'progress')
            daemon.kill()
            daemon.start()
        self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')
        self.check_bill(daemon, job)

    def check_bill(self, daemon, job):
        """Nothing was evaluated twice, everything in the log as it was billed, or as its worst."""
        billed = (daemon.directory / 'bill').read_text().split()
        self.assertEqual(len(billed), len(set(billed)), 'an attempt is paid once')
        trials = [name.split(':')[1] for name in billed]
        self.assertEqual(len(trials), len(set(trials)), 'and a trial too')
        told = {e['n']: e for _, e in daemon.events(job) if e['e'] == 'told'}
        for number, event in told.items():
            if event.get('st') == 'unknown':
                self.assertEqual(event['c'], 1000)
            else:
                self.assertEqual(event['c'], 400)
                self.assertIn(f'{job}:{number}:1', billed)


if __name__ == '__main__':
    unittest.main(verbosity=2)
