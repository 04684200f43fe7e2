#!/usr/bin/env python3
"""Asking for candidates and telling results over REST, and tokens for workers."""
import pathlib
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import Daemon, check_counts  # noqa: E402

JOB = {'optimizer': {'name': 'nsga2', 'params': {'population': 8}}, 'evaluator': 'external', 'seed': 2, 'parallelism': 4,
       'space': [{'name': 'x', 'type': 'real', 'low': 0, 'high': 1}],
       'objectives': [{'name': 'cost'}, {'name': 'gain', 'goal': 'maximize'}],
       'budget': {'trials': 40}}


def result(lease, **changes):
    x = lease['request']['candidate']['x']
    return {'lease': lease['lease'],
            'message': {'type': 'result', 'id': lease['request']['id'],
                        'objectives': {'cost': x * x, 'gain': x}, **changes}}


class AskTell(unittest.TestCase):
    def post(self, daemon, path, body=None, headers=None):
        status, answer, _ = daemon.request('POST', path, body, headers)
        return status, answer

    def test_a_whole_search_by_hand(self):
        with Daemon() as daemon:
            daemon.start()
            job = daemon.submit(JOB)
            while not daemon.finished(job):
                status, answer = self.post(daemon, f'/v1/jobs/{job}:ask', {'count': 3})
                if status == 409:
                    break
                self.assertEqual(status, 200, answer)
                told = self.post(daemon, f'/v1/jobs/{job}:tell',
                                 {'results': [result(lease) for lease in answer['leases']]})
                self.assertEqual(told[0], 200, told)
                self.assertEqual({r['status'] for r in told[1]['results']} - {'accepted'}, set())
            self.assertEqual(daemon.wait_finished(job)['status'], 'succeeded')
            check_counts(self, daemon, job, 40)
            self.assertGreater(len(daemon.get(f'/v1/jobs/{job}/front')['points']), 5)

    def test_a_crash_between_ask_and_tell_costs_nothing(self):
        with Daemon() as daemon:
            daemon.start()
            job = daemon.submit(JOB)
            leases = self.post(daemon, f'/v1/jobs/{job}:ask', {'count': 4})[1]['leases']
            self.assertEqual(len(leases), 4)
            daemon.kill()
            daemon.start()
            body = {'results': [result(lease) for lease in leases]}
            for expected in ('accepted', 'duplicate'):
                status, answer = self.post(daemon, f'/v1/jobs/{job}:tell', body)
                self.assertEqual(status, 200, answer)
                self.assertEqual([r['status'] for r in answer['results']], [expected] * 4)
            self.assertEqual(daemon.told(job), 4)

    def test_a_long_poll_ends_when_there_is_work(self):
        with Daemon() as daemon:
            daemon.start()
            answers = []
            body = {'worker': 'w', 'evaluator': 'external', 'wait_s': 25, 'request': 'r'}
            poll = threading.Thread(
                target=lambda: answers.append(self.post(daemon, '/v1/leases', body)))
            poll.start()
            job = daemon.submit(JOB)
            poll.join(timeout=20)
            self.assertEqual(answers[0][0], 200)
            self.assertEqual(answers[0][1]['leases'][0]['job'], job)
            self.assertEqual(answers[0], self.post(daemon, '/v1/leases', body), 'a repeat')

    def test_errors_name_the_field(self):
        with Daemon() as daemon:
            daemon.start()
            job = daemon.submit(JOB)

            def pointers(path, body):
                status, answer = self.post(daemon, path, body)
                self.assertEqual(status, 422, answer)
                return [problem['pointer'] for problem in answer['problems']]
            self.assertEqual(pointers('/v1/leases', {'evaluator': 'external'}), ['/worker'])
            self.assertEqual(pointers('/v1/leases', {'worker': 'w', 'evaluator': 'zdt1'}),
                             ['/evaluator'])
            self.assertEqual(pointers('/v1/leases', {'worker': 'w', 'evaluator': 'nobody'}),
                             ['/evaluator'])
            self.assertEqual(pointers(f'/v1/jobs/{job}:ask', {'count': 0}), ['/count'])
            lease = self.post(daemon, f'/v1/jobs/{job}:ask')[1]['leases'][0]
            self.assertEqual(pointers(f'/v1/jobs/{job}:tell',
                                      {'results': [{'lease': lease['lease'], 'message': {}}]}),
                             ['/results/0/message'])
            other = daemon.submit({'optimizer': 'random', 'evaluator': 'zdt1',
                                   'budget': {'trials': 1}})
            self.assertEqual(self.post(daemon, f'/v1/jobs/{other}:ask')[0], 409)
            status, answer = self.post(daemon, f'/v1/jobs/{job}:tell',
                                       {'results': [result(lease, objectives={'cost': 1})]})
            self.assertEqual(status, 200)
            trial = daemon.get(f'/v1/jobs/{job}/trials')['trials'][lease['trial'] - 1]
            self.assertEqual(trial['status'], 'failed')
            self.assertIn('"gain"', trial['outcome']['reason'])

    def test_a_workers_token_is_good_for_nothing_else(self):
        with Daemon() as daemon:
            (daemon.directory / 'owner').write_text('owner-token-0123456789\n')
            (daemon.directory / 'worker').write_text('worker-token-0123456789\n')
            daemon.config.write_text('{"listen":{"token_file":"owner","worker_token_file":"worker"}}')
            daemon.start()
            owner = {'Authorization': 'Bearer owner-token-0123456789'}
            worker = {'Authorization': 'Bearer worker-token-0123456789'}
            job = self.post(daemon, '/v1/jobs', JOB, owner)[1]['id']
            body = {'worker': 'w', 'evaluator': 'external'}
            self.assertEqual(self.post(daemon, '/v1/leases', body)[0], 401)
            self.assertEqual(self.post(daemon, '/v1/leases', body, worker)[0], 200)
            self.assertEqual(daemon.request('GET', f'/v1/jobs/{job}', headers=worker)[0], 200)
            self.assertEqual(self.post(daemon, '/v1/jobs', JOB, worker)[0], 403)
            self.assertEqual(self.post(daemon, f'/v1/jobs/{job}:cancel', {}, worker)[0], 403)
            self.assertEqual(daemon.request('GET', '/v1/jobs', headers=worker)[0], 403)


if __name__ == '__main__':
    unittest.main(verbosity=2)
