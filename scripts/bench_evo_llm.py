"""Rows of scripts/bench-evo about the LLM evaluator: how much of a provider's limit is used, whether the
bill is what the provider says, and what a call costs beside a plain libcurl loop.  Run by itself it
prints them."""
import json
import subprocess
import sys
import tempfile
import threading
import time

from bench_support import BUILD, Table, arguments, build, median

from llm import Evaluator, Stub, totals  # noqa: E402  (bench_support puts tests/support on the path)

TARGETS = ('paretod_llm_evaluator', 'llm_stub', 'llm_bench')


def candidates(stub):
    """Different coefficients for ever, so that no answer is known."""
    names = [a['name'] for a in stub.adapters()]
    number = 0
    while True:
        number += 1
        yield {f'beta.{name}': ((number * 7919 + i * 104729) % 3000 - 1500) / 1000 for i, name in enumerate(names)}


def used_share(jobs, limit, seconds):
    """Share of a limit per minute that is used over `seconds`, failed trials, and refusals."""
    faults = {'requests_per_window': limit, 'window_s': 60, 'retry_after': True, 'latency_ms': 20}
    with Stub('lorax', faults, examples='50,20,20') as stub, tempfile.TemporaryDirectory() as home:
        config = stub.config(slots=2 * jobs, server={'probe': False}, objectives=[{'name': 'loss', 'scorer': 'gold_nll'}],
                             provider={'requests_per_min': limit, 'concurrency': 32})
        with Evaluator(config, home) as evaluator:
            source, failed, trial = candidates(stub), 0, 0
            for trial in range(2 * jobs):
                evaluator.ask(trial, next(source), job=f'job{trial % jobs}')
            begin, first, end = time.monotonic(), None, None
            while end is None:
                message = evaluator.read()
                now = time.monotonic()
                # After the first seconds, so that the start is not what is measured.
                if first is None and now - begin > 3:
                    first = (now, stub.bill()['calls'])
                if first is not None and now - first[0] >= seconds:
                    end = (now, stub.bill()['calls'])
                if message['type'] == 'progress':
                    continue
                failed += message['type'] != 'result'
                trial += 1
                evaluator.ask(trial, next(source), job=message['id'].split(':')[0])
            share = (end[1] - first[1]) / (limit * (end[0] - first[0]) / 60)
            return share, failed, stub.bill()['refused']


def governor_rows(quick):
    limit, seconds = 1200, 20 if quick else 60
    found = {}
    threads = [threading.Thread(target=lambda n=n: found.__setitem__(n, used_share(n, limit, seconds))) for n in (1, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for jobs in (1, 8):
        share, failed, refused = found[jobs]
        who = 'one job' if jobs == 1 else 'eight jobs'
        yield {'name': f'governor: share of {limit} requests/min used, {who}', 'value': share, 'unit': '', 'at_least': 0.97}
        yield {'name': f'governor: failed trials, {who}', 'value': failed, 'unit': 'trials', 'at_most': 0}
        yield {'name': f'governor: requests refused (429), {who}', 'value': refused, 'unit': 'requests'}


def money_rows():
    faults = {'rate_limited': 0.05, 'rate_limited_bare': 0.001, 'overloaded': 0.02, 'error': 0.02, 'cut': 0.02,
              'silence': 0.02, 'close': 0.02, 'garbage': 0.02}
    with Stub('lorax', faults, examples='500,20,20') as stub, tempfile.TemporaryDirectory() as home:
        config = stub.config(paid=True, missing_share=0.5, server={'probe': False, 'timeout_s': 2, 'retries': 10})
        config['provider']['concurrency'] = 32
        with Evaluator(config, home) as evaluator:
            evaluator.evaluate(1, next(candidates(stub)))
        bill, known = stub.bill(), totals(stub.files / 'state')
        yield {'name': 'money: 1,000 faulty calls: bill less ledger and unknown', 'unit': 'calls', 'at_most': 0,
               'value': abs(bill['calls'] - known['answers'] - known['unknown'])}
        yield {'name': 'money: ... of which unknown', 'value': known['unknown'], 'unit': 'calls'}
        yield {'name': 'money: ... charged twice', 'value': bill['repeated'], 'unit': 'calls', 'at_most': 0}
        yield {'name': 'money: ... bill above what the ledger counts', 'unit': 'micro-USD', 'at_most': 0,
               'value': max(0, bill['money_micros'] - known['answers_micros'] - known['unknown_micros'])}
    with Stub('lorax', examples='500,20,20') as stub, tempfile.TemporaryDirectory() as home:
        config = stub.config(paid=True, server={'probe': False})
        config['provider'].update(caps={'day': '0.001'}, concurrency=32)
        with Evaluator(config, home) as evaluator:
            evaluator.evaluate(1, next(candidates(stub)))
        spent = stub.bill()['money_micros']
        yield {'name': 'money: bill above a cap of 1,000 micro-USD a day', 'value': max(0, spent - 1000),
               'unit': 'micro-USD', 'at_most': 0}
        yield {'name': 'money: ... of which used', 'value': spent / 1000, 'unit': ''}


def client_rows(quick):
    """The loop and the client take turns, and what is compared is each with the one beside it."""
    count, concurrency, rounds = (3000, 16, 5) if quick else (10000, 16, 11)
    for latency_ms, which in ((0, ''), (5, ', replies after 5 ms')):
        costs = {'plain': [], 'client': []}
        with Stub('llama_cpp', {'latency_ms': latency_ms}) as stub:
            for _ in range(rounds):
                for mode in costs:
                    with tempfile.TemporaryDirectory() as home:
                        done = subprocess.run([BUILD / 'tests' / 'llm_bench', mode, stub.url, str(count), str(concurrency), home],
                                              capture_output=True, text=True, check=True)
                    costs[mode].append(json.loads(done.stdout)['cpu_s'] / count)
        share = median([plain / client for plain, client in zip(costs['plain'], costs['client'])])
        yield {'name': f'client: requests per processor second{which}', 'value': 1 / median(costs['client']), 'unit': '1/s'}
        yield {'name': 'client: ... of a plain libcurl-multi loop', 'value': 1 / median(costs['plain']), 'unit': '1/s'}
        yield {'name': 'client: ... share of it', 'value': share, 'unit': '', 'at_least': 0.8}


def rows(quick=False):
    yield from governor_rows(quick)
    yield from money_rows()
    yield from client_rows(quick)


def main():
    options = arguments(__doc__).parse_args()
    if not options.no_build:
        build(*TARGETS)
    table = Table()
    for row in rows(options.quick):
        table.add(**row)
    return table.finish(options)


if __name__ == '__main__':
    sys.exit(main())
