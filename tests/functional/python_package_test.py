#!/usr/bin/env python3
"""The Python package against the real daemon; what a daemon cannot be made to do, a fake one does."""
import http.server
import importlib.util
import io
import json
import pathlib
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import ROOT, Daemon  # noqa: E402

SOURCE = ROOT / 'adapters/python/src'
EXAMPLES = ROOT / 'adapters/python/examples'
sys.path.insert(0, str(SOURCE))
import paretod  # noqa: E402
from paretod.progress import ProgressLine  # noqa: E402

ODD = '''
import os, pathlib, time, paretod
print("printed before the hello")

@paretod.evaluator(objectives={"loss": "min"}, threads=2, slots=4, space={"kind": paretod.categorical(
    ["ok", "number", "infeasible", "transient", "fatal", "nan", "text", "slow"])})
def odd(trial):
    print("printed by the function")
    os.system("echo printed by a child")
    kind = trial["kind"]
    if kind == "infeasible":
        raise paretod.Infeasible("too wide")
    if kind == "transient" and trial.id.endswith(":1"):
        raise paretod.Transient("try again")
    if kind == "fatal":
        raise KeyError("no such layer")
    if kind == "nan":
        return {"loss": float("nan")}
    if kind == "text":
        return {"loss": "low"}
    if kind == "slow":
        while not trial.cancelled:
            time.sleep(0.005)
        pathlib.Path("seen").write_text("cancelled")
        trial.check()
    if kind == "number":
        return 3
    return paretod.Result({"loss": paretod.Measured(2, stderr=0.5, n=10)}, metrics={"size": 7},
                          examples={"loss": [1, 3]}, cost=paretod.Cost(seconds=4, tokens=5))

odd.run()
'''


def process(path, **more):
    return {'type': 'process', 'argv': ['python3', str(path)],
            'environment': [f'PYTHONPATH={SOURCE}'], **more}


class WithDaemon(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
        cls.addClassCleanup(cls.daemon.__exit__)
        (cls.daemon.directory / 'odd.py').write_text(ODD)
        cls.daemon.config.write_text(json.dumps({'evaluators': {'odd': process('odd.py')}}))
        cls.daemon.start()
        cls.client = paretod.Client(cls.daemon.url)


class Evaluators(WithDaemon):
    def outcome(self, kind, **more):
        job = self.client.submit({'optimizer': 'random', 'evaluator': 'odd', 'budget': {'trials': 1},
                                  'max_failure_share': 1, 'initial': [{'kind': kind}], **more})
        job.wait(poll_s=0.02)
        return next(job.trials())['outcome']

    def test_a_result_with_everything(self):
        outcome = self.outcome('ok')
        self.assertEqual(outcome['objectives']['loss'], {'value': 2, 'stderr': 0.5, 'n': 10})
        self.assertEqual(outcome['metrics'], {'size': 7})
        self.assertEqual(outcome['seconds'], 4)

    def test_a_number_stands_for_the_only_objective(self):
        self.assertEqual(self.outcome('number')['objectives']['loss']['value'], 3)

    def test_exceptions_and_what_they_stand_for(self):
        infeasible = self.outcome('infeasible')
        self.assertEqual((infeasible['status'], infeasible['reason']), ('infeasible', 'too wide'))
        retried = self.outcome('transient')
        self.assertEqual((retried['status'], retried['attempts']), ('ok', 2))
        fatal = self.outcome('fatal')
        self.assertEqual(fatal['status'], 'failed')
        self.assertIn("KeyError: 'no such layer'", fatal['reason'])

    def test_values_that_are_no_numbers_name_their_objective(self):
        for kind, said in [('nan', 'NaN'), ('text', "'low'")]:
            outcome = self.outcome(kind)
            self.assertEqual(outcome['status'], 'failed')
            self.assertIn('objective "loss" has to be a', outcome['reason'])
            self.assertIn(said, outcome['reason'])

    def test_a_cancel_is_seen_while_the_function_runs(self):
        self.outcome('slow', trial_timeout_s=0.05, max_attempts=1)
        self.assertEqual((self.daemon.directory / 'seen').read_text(), 'cancelled')

    def test_progress_as_the_protocol_has_it(self):
        program = ('import paretod\n@paretod.evaluator(objectives={"a": "max"})\ndef f(trial):\n'
                   '    trial.report(done=0.5, partial={"a": 2}, examples={"a": [1, 3]})\n'
                   '    return trial["x"]\nf.run()\n')
        request = {'type': 'evaluate', 'id': 'j:1:1', 'candidate': {'x': 4}}
        done = subprocess.run([sys.executable, '-c', program], input=json.dumps(request) + '\n',
                              text=True, capture_output=True, env={'PYTHONPATH': str(SOURCE)},
                              timeout=60, check=True)
        hello, progress, result = map(json.loads, done.stdout.splitlines())
        self.assertEqual(hello['objectives'], [{'name': 'a', 'goal': 'maximize'}])
        self.assertEqual(progress, {'type': 'progress', 'id': 'j:1:1', 'done': 0.5,
                                    'partial': {'a': 2.0}, 'examples': {'a': [1.0, 3.0]}})
        self.assertEqual(result, {'type': 'result', 'id': 'j:1:1', 'objectives': {'a': 4.0}})

    def test_the_end_of_the_daemon_is_a_cancel(self):
        program = ('import paretod, time\n@paretod.evaluator()\ndef f(trial):\n'
                   '    trial.report(done=0)\n    while not trial.cancelled: time.sleep(0.005)\nf.run()\n')
        with subprocess.Popen([sys.executable, '-c', program], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              env={'PYTHONPATH': str(SOURCE)}) as child:
            child.stdin.write(b'{"type":"evaluate","id":"j:1:1","candidate":{}}\n')
            child.stdin.flush()
            child.stdout.readline()
            self.assertIn(b'progress', child.stdout.readline())
            child.stdin.close()
            child.stdout.close()
            self.assertEqual(child.wait(60), 0)

    def test_declarations_that_cannot_be_meant(self):
        with self.assertRaisesRegex(ValueError, '"loss".*"min" or "max"'):
            paretod.evaluator(objectives={'loss': 'low'})(lambda trial: 1)
        with self.assertRaisesRegex(ValueError, 'slots'):
            paretod.evaluator(threads=4, slots=2)

    @unittest.skipUnless(importlib.util.find_spec('sklearn'), 'scikit-learn is not installed')
    def test_the_example_with_a_real_model(self):
        config = json.loads((EXAMPLES / 'paretod.json').read_text())
        config['evaluators']['digits-classifier'].update(
            argv=[sys.executable, str(EXAMPLES / 'digits_classifier.py')], hello_timeout_s=300)
        config['evaluators']['digits-classifier']['environment'].append(f'PYTHONPATH={SOURCE}')
        with Daemon(config) as daemon:
            daemon.start()
            job = paretod.Client(daemon.url).submit(json.loads((EXAMPLES / 'digits-job.json').read_text()))
            self.assertEqual(job.wait()['status'], 'succeeded')
            front = job.front(where='error<=0.2')
            self.assertGreater(len(front), 0)
            self.assertEqual(front[0].objectives['error'].n, 594)


class Clients(WithDaemon):
    ZDT = {'optimizer': 'random', 'evaluator': 'zdt1', 'budget': {'trials': 300}, 'seed': 1}
    SLOW = {**ZDT, 'evaluator': {'name': 'zdt1', 'params': {'delay_ms': 20}}, 'parallelism': 2,
            'budget': {'trials': 100000}}

    def test_from_submit_to_front(self):
        job = self.client.submit(self.ZDT)
        self.assertEqual(job.wait(poll_s=0.02)['status'], 'succeeded')
        front = job.front()
        self.assertGreater(len(front), 3)
        values = [point.objectives['f1'].value for point in front]
        self.assertEqual(values, sorted(values))
        asked = job.front(preference={'f1': 0.7, 'f2': 0.3}, where=['f1<=0.9', 'f2<9'], limit=2)
        self.assertLessEqual(len(asked), 2)
        self.assertIn('chebyshev', json.dumps(asked.why))
        self.assertIn('x1', asked.chosen.row())
        self.assertIsNotNone(job.front(knee=True, at=100).chosen)
        self.assertEqual([trial['number'] for trial in job.trials()], list(range(1, 301)))
        self.assertIn(job.id, [listed['id'] for listed in self.client.jobs(status='succeeded')])
        self.assertIn('random', [entry['name'] for entry in self.client.optimizers()])
        self.assertIn('zdt1', [entry['name'] for entry in self.client.evaluators()])

    @unittest.skipUnless(importlib.util.find_spec('pandas'), 'pandas is not installed')
    def test_a_front_as_a_frame(self):
        job = self.client.submit(self.ZDT)
        job.wait(poll_s=0.02)
        frame = job.front().frame()
        self.assertEqual(list(frame['trial']), [point.trial for point in job.front()])

    def test_the_best_of_one_objective(self):
        job = self.client.submit({**self.ZDT, 'evaluator': 'sphere'})
        job.wait(poll_s=0.02)
        best = min(t['outcome']['objectives']['f']['value'] for t in job.trials())
        self.assertEqual(job.best()['objectives']['f']['value'], best)

    def test_events_are_the_log(self):
        job = self.client.submit(self.ZDT)
        live = list(job.events(after='0-0'))
        self.assertEqual([event.id for event in live], [i for i, _ in self.daemon.events(job.id)])
        self.assertEqual((live[1].kind, live[-1].kind), ('created', 'finished'))
        again = [event.id for event in job.events(after=live[-3].id)]
        self.assertEqual(again, [event.id for event in live[-2:]])
        self.assertEqual(list(job.events(after=live[-1].id)), [])

    def test_verbs(self):
        job = self.client.submit(self.SLOW)
        self.assertEqual(job.pause('lunch')['status'], 'paused')
        self.assertEqual(job.extend(budget={'trials': 500}, parallelism=3)['progress']['budget_trials'], 500)
        self.assertEqual(job.resume()['status'], 'running')
        job.cancel()
        self.assertEqual(job.wait(poll_s=0.02)['status'], 'cancelled')
        with self.assertRaises(paretod.Refused) as caught:
            job.pause()
        self.assertEqual((caught.exception.status, caught.exception.kind), (409, '/problems/conflict'))

    def test_a_wait_that_is_too_long(self):
        job = self.client.submit(self.SLOW)
        with self.assertRaisesRegex(TimeoutError, job.id):
            job.wait(timeout_s=0)
        job.cancel()

    def test_a_key_makes_a_repeat_the_same_job(self):
        first = self.client.submit(self.ZDT, key='the same')
        self.assertEqual(self.client.submit(self.ZDT, key='the same').id, first.id)
        self.assertNotEqual(self.client.submit(self.ZDT).id, first.id)

    def test_a_refusal_names_the_fields(self):
        with self.assertRaises(paretod.Refused) as caught:
            self.client.submit({**self.ZDT, 'budget': {'trials': 0}, 'sed': 1})
        self.assertEqual(caught.exception.status, 422)
        self.assertEqual({p.pointer for p in caught.exception.problems}, {'/budget/trials', '/sed'})
        self.assertIn('/sed', str(caught.exception))

    def test_nobody_answers(self):
        with self.assertRaisesRegex(paretod.Unavailable, 'paretod serve'):
            paretod.Client('http://127.0.0.1:1', retries=0).optimizers()

    def test_ask_and_tell(self):
        job = self.client.submit({'optimizer': 'random', 'evaluator': 'external', 'seed': 1,
                                  'budget': {'trials': 3}, 'parallelism': 3,
                                  'space': [{'name': 'x', 'type': 'real', 'low': 0, 'high': 1}],
                                  'objectives': [{'name': 'loss', 'goal': 'minimize'}]})
        asked = []
        while len(asked) < 3:
            asked += job.ask(3 - len(asked), ttl_s=600)
        first, second, third = asked
        self.assertEqual(job.tell(first, {'loss': paretod.Measured(first.candidate['x'], stderr=0.1)}),
                         'accepted')
        self.assertEqual(job.tell(first, {'loss': 9}), 'duplicate')
        self.assertEqual(job.tell_error(second, 'infeasible', 'too wide'), 'accepted')
        self.assertEqual(job.tell(third, {'loss': 2}), 'accepted')
        self.assertEqual(job.wait(poll_s=0.02)['status'], 'succeeded')
        self.assertEqual(job.best()['objectives']['loss']['value'], first.candidate['x'])

    def test_the_progress_line(self):
        out = io.StringIO()
        line = ProgressLine(out)
        job = self.client.submit(self.ZDT)
        line.show(job.wait(poll_s=0.02))
        line.close()
        self.assertIn(f'[{"#" * 30}] 300/300  succeeded', out.getvalue())


class Answers(http.server.BaseHTTPRequestHandler):
    """Gives the server's answers in turn: (status, headers, body), or None to hang up."""

    def answer(self):
        self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        given = self.server.answers.pop(0)
        if given is None:
            self.close_connection = True
            return
        status, headers, body = given
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Troubles(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Answers)
        self.server.seen, self.server.answers = [], []
        thread = threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.client = paretod.Client(f'http://127.0.0.1:{self.server.server_port}', 'sesame', retries=2)

    HASTE = (429, {'Retry-After': '0'}, '{"type": "/problems/too-many-requests", "detail": "slower"}')
    FULL = (429, {'Retry-After': '0'}, '{"type": "/problems/exhausted", "detail": "100 jobs"}')
    STARTING = (503, {'Retry-After': '0'}, '{"type": "/problems/unavailable", "detail": "wait"}')
    DONE = (200, {}, '{"id": "j", "optimizers": [], "status": "paused"}')

    def test_haste_and_a_start_are_waited_for(self):
        self.server.answers += [self.HASTE, self.STARTING, self.DONE]
        self.client.optimizers()
        self.assertEqual([headers['Authorization'] for _, _, headers in self.server.seen],
                         ['Bearer sesame'] * 3)

    def test_a_full_daemon_is_told_about(self):
        self.server.answers += [self.FULL]
        with self.assertRaisesRegex(paretod.Refused, '100 jobs'):
            self.client.submit({})

    def test_retries_end(self):
        self.server.answers += [self.HASTE] * 3
        with self.assertRaisesRegex(paretod.Refused, 'slower'):
            self.client.optimizers()

    def test_a_submit_is_repeated_with_its_key(self):
        self.server.answers += [None, self.DONE]
        self.assertEqual(self.client.submit({}).id, 'j')
        keys = {headers['Idempotency-Key'] for _, _, headers in self.server.seen}
        self.assertEqual((len(self.server.seen), len(keys)), (2, 1))

    def test_a_verb_whose_answer_is_lost_is_not_repeated(self):
        self.server.answers += [None, self.DONE]
        with self.assertRaises(paretod.Unavailable):
            self.client.job('j').pause()
        self.assertEqual(len(self.server.seen), 1)

    def test_events_go_on_behind_the_last_whole_one(self):
        cut = 'id: 1-1\nevent: told\ndata: {"trial": 1}\n\n: alive\n\nid: 1-2\nevent: told\nda'
        rest = 'id: 1-2\nevent: told\ndata: {"trial": 2}\n\nid: 1-3\nevent: finished\ndata: {}\n\n'
        self.server.answers += [(200, {}, cut), (200, {}, rest)]
        events = list(self.client.job('j').events(after='0-0'))
        self.assertEqual([event.id for event in events], ['1-1', '1-2', '1-3'])
        self.assertEqual([headers['Last-Event-ID'] for _, _, headers in self.server.seen],
                         ['0-0', '1-1'])


if __name__ == '__main__':
    unittest.main(verbosity=2)
