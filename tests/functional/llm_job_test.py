"""Jobs of the real daemon on a paid model behind a stub server: what a crash of the evaluator costs."""
import json
import os
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import Daemon, wait_for  # noqa: E402
from llm import EVALUATOR, Stub, totals  # noqa: E402


def evaluators_of(pid):
    """Process numbers of the daemon's evaluator programs."""
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        try:
            fields = (entry / 'stat').read_text().rsplit(')', 1)[1].split()
            if int(fields[1]) == pid and b'llm-evaluator' in (entry / 'cmdline').read_bytes() and fields[0] != 'Z':
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


class LlmJob(unittest.TestCase):
    def serve(self, stub, **changes):
        path = stub.files / 'evaluator.json'
        path.write_text(json.dumps(stub.config(paid=True, **{'server': {'probe': False}, **changes})))
        evaluators = {'toy': {'type': 'process', 'argv': [str(EVALUATOR), str(path)], 'grace_s': 60}}
        return Daemon({'evaluators': evaluators})

    def job(self, **changes):
        return {'name': 'toy', 'optimizer': 'random', 'evaluator': 'toy', 'seed': 1, 'parallelism': 2,
                'budget': {'trials': 6, 'money': '1.00 USD'}, **changes}

    def test_a_killed_evaluator_costs_no_trial_and_no_call_twice(self):
        with Stub('lorax', {'latency_ms': 5}, examples='60,20,20') as stub, self.serve(stub, missing_share=0.5) as daemon:
            daemon.start()
            job = daemon.submit(self.job())

            def told():
                return {t['number'] for t in daemon.get(f'/v1/jobs/{job}/trials')['trials'] if t['status'] == 'ok'}
            # One that both hit would be taken for what breaks the evaluator.
            for calls, done in ((60, set()), (300, {1, 2})):
                wait_for(lambda calls=calls, done=done: stub.bill()['calls'] > calls and told() >= done, f'{calls} calls')
                for pid in evaluators_of(daemon.process.pid):
                    os.kill(pid, signal.SIGKILL)
            status = daemon.wait_finished(job)
            self.assertEqual(status['status'], 'succeeded', status)
            trials = daemon.get(f'/v1/jobs/{job}/trials')['trials']
            self.assertEqual([t['status'] for t in trials], ['ok'] * 6, [t.get('outcome') for t in trials])
            bill, known = stub.bill(), totals(stub.files / 'state')
            self.assertEqual(bill['repeated'], 0)
            self.assertLessEqual(bill['calls'], known['answers'] + known['unknown'])
            self.assertEqual(known['answers'] + known['unknown'], 6 * 120)

    def test_a_jobs_budget_is_kept_with_calls_under_way(self):
        with Stub('lorax', examples='60,20,20') as stub, self.serve(stub) as daemon:
            daemon.start()
            worst = daemon.get('/v1/evaluators')['evaluators']
            worst = next(e for e in worst if e['name'] == 'toy')['worst_case']
            self.assertTrue(worst)
            job = daemon.submit(self.job(budget={'trials': 100, 'money': '0.01 USD'}))
            wait_for(lambda: daemon.job(job)['status'] == 'paused', 'the job to pause')
            self.assertLessEqual(stub.bill()['money_micros'], 10_000)
            self.assertGreater(stub.bill()['money_micros'], 1_000)

    def test_eight_jobs_share_one_provider(self):
        faults = {'requests_per_window': 400, 'window_s': 1, 'retry_after': True}
        with Stub('lorax', faults, examples='20,20,20') as stub:
            daemon = self.serve(stub, slots=8, provider={**stub.config(paid=True)['provider'],
                                                         'requests_per_min': 24_000, 'concurrency': 16})
            with daemon:
                daemon.start()
                jobs = [daemon.submit(self.job(name=f'share{n}', seed=n, parallelism=1,
                                               budget={'trials': 3, 'money': '1.00 USD'})) for n in range(8)]
                for job in jobs:
                    self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')
                    self.assertEqual({t['status'] for t in daemon.get(f'/v1/jobs/{job}/trials')['trials']}, {'ok'})


if __name__ == '__main__':
    unittest.main()
