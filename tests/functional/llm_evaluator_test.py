"""The LLM evaluator as a program, against stub servers with every fault they know."""
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import wait_for  # noqa: E402
from llm import EVALUATOR, SPLITS, Evaluator, Stub, ledger, totals  # noqa: E402
from safetensors import read as read_tensors  # noqa: E402


class LlmEvaluator(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix='paretod-llm-')
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)

    def candidate(self, stub, weight, keep=1.0):
        """weight: of an adapter, by its name."""
        adapters = [a['name'] for a in stub.adapters()]
        out = {f'beta.{name}': weight(name) for name in adapters}
        if stub.kind in ('vllm', 'sglang', 'loss_oracle'):
            out.update({f'alpha.{name}': keep for name in adapters})
        return out

    @staticmethod
    def planted(name):
        return 0.8 if name.startswith('useful') else -0.8 if name.startswith('harmful') else 0

    @staticmethod
    def nothing(_):
        return 0

    def start(self, stub, **changes):
        return Evaluator(stub.config(**changes), self.home)

    def refused(self, config):
        """What it says when it does not start."""
        with Evaluator(config, self.home) as evaluator:
            self.assertIsNone(evaluator.hello)
            self.assertEqual(evaluator.process.wait(timeout=60), 1)
            return evaluator.stderr()

    # --- carriers -------------------------------------------------------------------------------

    def test_coefficients_travel_to_every_kind_of_server(self):
        for kind in ('llama_cpp', 'lorax', 'vllm', 'sglang'):
            with self.subTest(kind), Stub(kind) as stub, self.start(stub) as evaluator:
                base = evaluator.evaluate(1, self.candidate(stub, self.nothing))
                keep = 0.25 if kind in ('vllm', 'sglang') else 1
                merged = evaluator.evaluate(2, self.candidate(stub, self.planted, keep))
                for answer in (base, merged):
                    self.assertEqual(answer['type'], 'result', answer)
                    self.assertEqual(answer['metrics']['n_ok'], 40)
                # The planted merge answers as the teacher would; the base model knows nothing of it.
                if kind != 'lorax':
                    self.assertLess(merged['objectives']['loss']['value'],
                                    base['objectives']['loss']['value'] - 1)
                    self.assertGreater(merged['objectives']['accuracy']['value'], 0.1)
                asked = stub.bill()['requests']
                again = evaluator.evaluate(3, self.candidate(stub, self.planted, keep))
                self.assertEqual(again['objectives'], merged['objectives'])
                self.assertEqual(again['cost'], {'tokens': 0, 'money_micros': 0})
                self.assertEqual(again['metrics']['used.calls'], 0)
                self.assertEqual(stub.bill()['requests'], asked)
                self.assertEqual(evaluator.end(), 0)
                if kind in ('vllm', 'sglang'):
                    self.assertEqual(list((stub.files / 'merged').iterdir()), [], 'merged folders are left')

    def test_all_signs_together_change_nothing_in_factor_space_and_are_asked_once(self):
        with Stub('vllm') as stub, self.start(stub) as evaluator:
            plus = evaluator.evaluate(1, self.candidate(stub, self.planted))
            minus = evaluator.evaluate(2, self.candidate(stub, lambda name: -self.planted(name)))
            self.assertEqual(plus['objectives'], minus['objectives'])
            self.assertEqual(minus['metrics']['used.calls'], 0)

    def test_a_loss_oracle_is_asked_once_per_candidate(self):
        with Stub('loss_oracle') as stub:
            with self.start(stub) as evaluator:
                first = evaluator.evaluate(1, self.candidate(stub, self.nothing))
                select = evaluator.evaluate(2, self.candidate(stub, self.nothing), replicate=1)
                self.assertNotEqual(first['objectives'], select['objectives'])
                self.assertEqual(evaluator.end(), 0)
            with self.start(stub) as evaluator:  # a new session at the service, the same question
                again = evaluator.evaluate(1, self.candidate(stub, self.nothing))
                self.assertEqual(again['objectives'], first['objectives'])
                self.assertEqual(again['metrics']['used.ledger_hits'], 1)

    def test_prompts_and_sampling_are_genes_of_hosted_models(self):
        with Stub('openai') as stub, self.start(stub) as evaluator:
            self.assertEqual([p['name'] for p in evaluator.hello['space']], ['temperature', 'system', 'shots'])
            plain = evaluator.evaluate(1, {'temperature': 0, 'system': 'plain', 'shots': 'none'})
            best = evaluator.evaluate(2, {'temperature': 0, 'system': 'expert', 'shots': 'two'})
            self.assertGreater(best['objectives']['accuracy']['value'],
                               plain['objectives']['accuracy']['value'] + 0.3)
            wrong = evaluator.evaluate(3, {'temperature': 0, 'system': 'rude', 'shots': 'two'})
            self.assertEqual((wrong['type'], wrong['kind']), ('error', 'failed'))
            self.assertIn('/candidate/system', wrong['message'])

    def test_pairs_of_adapters_bring_the_factor_space_to_llama_cpp(self):
        values = {}
        for kind, faults in (('lorax', {}), ('llama_cpp', {'pairs': True})):
            with Stub(kind, faults, adapters='1,1,1', examples='8,4,4') as stub, \
                    tempfile.TemporaryDirectory() as home:
                names = sorted(p.name for p in (stub.files / 'adapters').iterdir())
                order = names if kind == 'lorax' else [
                    pathlib.Path(a['path']).stem for a in stub.call('/lora-adapters')[::3]]
                config = stub.config(merge={'space': 'factor', 'adapters': [{'name': n} for n in order]})
                if kind == 'lorax':
                    config['merge']['adapters'] = stub.adapters()
                with Evaluator(config, home) as evaluator:
                    out = evaluator.evaluate(1, {'beta.useful0': 0.8, 'beta.useless0': 0.3, 'beta.harmful0': -0.6})
                    values[kind] = out['objectives']['loss']['value']
                if kind == 'llama_cpp':  # with fewer it does not start
                    stub.set_faults(pairs=False)
                    with Evaluator(config, home) as evaluator:
                        self.assertIsNone(evaluator.hello)
                        self.assertIn('--pairs', evaluator.stderr())
        self.assertAlmostEqual(values['llama_cpp'], values['lorax'], delta=1e-5)

    def test_pairs_are_written_in_the_order_of_their_numbers(self):
        with Stub('lorax', adapters='2,0,0') as stub:
            folders = [str(f) for f in sorted((stub.files / 'adapters').iterdir())]
            out = pathlib.Path(self.home) / 'pairs'
            done = subprocess.run([EVALUATOR, '--pairs', out, *folders], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual([pathlib.Path(line).name for line in done.stdout.split()],
                             ['b0-a0', 'b0-a1', 'b1-a0', 'b1-a1'])
            tensors = [read_tensors(f'{f}/adapter_model.safetensors') for f in [*folders, out / 'b0-a1']]
            for name, data in tensors[2].items():
                self.assertEqual(data, tensors[0 if 'lora_B' in name else 1][name], name)
            again = subprocess.run([EVALUATOR, '--pairs', out, *folders], capture_output=True, text=True)
            self.assertIn('exists already', again.stderr)

    def test_a_server_that_changes_during_a_job_is_flagged(self):
        for kind in ('openai', 'vllm'):
            with self.subTest(kind), Stub(kind) as stub, tempfile.TemporaryDirectory() as home:
                tries = [({'temperature': t, 'system': 'plain', 'shots': 'none'} if kind == 'openai'
                          else self.candidate(stub, lambda _, t=t: t)) for t in (0.25, 0.5)]
                with Evaluator(stub.config(), home) as evaluator:
                    before = evaluator.evaluate(1, tries[0])
                    self.assertEqual(before['metrics']['fingerprint_changed'], 0)
                    stub.set_faults(fingerprint='fp_other')
                    after = evaluator.evaluate(2, tries[1])
                    self.assertEqual(after['metrics']['fingerprint_changed'], after['metrics']['used.calls'])
                    # Another job begins with the new one.
                    fresh = evaluator.evaluate(1, tries[1], job='other')
                    self.assertEqual(fresh['metrics']['fingerprint_changed'], 0)
                    said = [line for line in evaluator.stderr().splitlines() if 'fingerprint' in line]
                    self.assertEqual(len(said), 1, said)
                    self.assertIn('"fp_toy"', said[0])
                    self.assertIn('"fp_other"', said[0])
                with Evaluator(stub.config(), home) as evaluator:  # the ledger remembers
                    again = evaluator.evaluate(2, tries[1])
                    self.assertGreater(again['metrics']['used.ledger_hits'], 0)
                    self.assertEqual(again['metrics']['fingerprint_changed'], after['metrics']['used.calls'])

    def test_copies_that_keep_a_share_stand_in_for_alpha(self):
        with Stub('lorax') as stub:
            config = stub.config()
            config['merge']['alpha'] = True
            for adapter in config['merge']['adapters']:
                adapter['copies'] = [{'keep': 1, 'id': adapter['name']}, {'keep': 0.25, 'id': adapter['name'] + '@0.25'},
                                     {'keep': 0, 'id': adapter['name'] + '@0'}]
            names = [a['name'] for a in config['merge']['adapters']]

            def candidate(keep):
                return {**{f'beta.{n}': self.planted(n) for n in names}, **{f'alpha.{n}': keep for n in names}}
            with Evaluator(config, self.home) as evaluator:
                dense, quarter, near, none = (evaluator.evaluate(i, candidate(keep))
                                              for i, keep in enumerate((1, 0.25, 0.3, 0)))
                base = evaluator.evaluate(9, {**candidate(1), **{f'beta.{n}': 0 for n in names}})
            self.assertLess(quarter['objectives']['loss']['value'], dense['objectives']['loss']['value'] - 1)
            self.assertEqual(near['metrics']['used.calls'], 0)  # the same copy
            self.assertEqual(none['objectives'], base['objectives'])

    def test_pruned_copies_are_written(self):
        with Stub('vllm') as stub:
            source, copy = stub.files / 'adapters' / 'useful0', pathlib.Path(self.home) / 'copy'
            command = [EVALUATOR, '--prune', str(source), '0.25', str(copy)]
            self.assertEqual(subprocess.run(command).returncode, 0)
            self.assertEqual((copy / 'adapter_model.safetensors').stat().st_size,
                             (source / 'adapter_model.safetensors').stat().st_size)
            kept = {'adapters': [{'name': 'a', 'path': str(source)}, {'name': 'b', 'path': str(copy)}], 'alpha': True}
            with Evaluator(stub.config(merge=kept), self.home) as evaluator:
                def loss(trial, a, b, keep):
                    return evaluator.evaluate(trial, {'alpha.a': keep, 'alpha.b': 1, 'beta.a': a, 'beta.b': b})['objectives']
                self.assertEqual(loss(1, 1, 0, 0.25), loss(2, 0, 1, 1))
                self.assertNotEqual(loss(3, 1, 0, 1), loss(4, 0, 1, 1))
            again = subprocess.run(command, capture_output=True, text=True)
            self.assertIn('exists already', again.stderr)

    # --- what is written and loaded -------------------------------------------------------------

    def under_way(self, stub, evaluator, candidates):
        """Some candidates, of which an adapter is loaded and waits for answers."""
        known = len(stub.models())
        for trial in range(candidates):
            evaluator.ask(trial, self.candidate(stub, lambda name, t=trial: 0.1 * (t + 1)))
        wait_for(lambda: len(stub.models()) > known, 'an adapter to be loaded')

    def test_what_a_killed_evaluator_left_goes_with_the_next_one(self):
        for kind in ('vllm', 'sglang'):
            with self.subTest(kind), Stub(kind) as stub, tempfile.TemporaryDirectory() as other_home:
                merged = stub.files / 'merged'
                foreign = [merged / 'mine', merged / 'paretod-merge-notes', merged / 'paretod-merge-a.tar']
                for folder in foreign:
                    folder.mkdir(parents=True)
                # Adapters of somebody else, one of them loaded from a folder that is like ours.
                elsewhere = stub.files / 'elsewhere' / 'paretod-merge-abcdef' / 'paretod-1-1'
                shutil.copytree(stub.files / 'adapters' / 'useful0', elsewhere)
                for name, path in (('mine', stub.files / 'adapters' / 'useful0'), ('paretod-1-1', elsewhere)):
                    stub.load(name, path)
                stub.set_faults(latency_ms=60_000)
                quiet = {'server': {'probe': False}}
                with Evaluator(stub.config(**quiet, provider={'state': str(stub.files / 'other')}), other_home) as living:
                    self.under_way(stub, living, 1)
                    held = sorted(stub.models())
                    ours = sorted(merged.iterdir())
                    with self.start(stub, **quiet) as doomed:
                        self.under_way(stub, doomed, 3)
                        doomed.process.send_signal(signal.SIGKILL)
                        doomed.process.wait()
                    self.assertGreater(len(stub.models()), len(held))
                    self.assertEqual(len(list(merged.iterdir())), len(ours) + 1)
                    with self.start(stub, **quiet) as next_one:
                        self.assertRegex(next_one.stderr(), r'unloaded (\d+) of \1 ')
                        self.assertEqual(sorted(stub.models()), held)
                        self.assertEqual(next_one.end(), 0)
                    self.assertEqual(sorted(merged.iterdir()), ours)
                # It was killed too.
                with self.start(stub, **quiet) as last:
                    self.assertEqual(last.end(), 0)
                self.assertEqual(sorted(stub.models()), ['mine', 'paretod-1-1', 'toy'])
                self.assertEqual(sorted(merged.iterdir()), sorted(foreign))

    def test_the_end_of_input_unloads_what_is_under_way(self):
        for kind in ('vllm', 'sglang'):
            with self.subTest(kind), Stub(kind) as stub, self.start(stub, server={'probe': False}) as evaluator:
                stub.set_faults(latency_ms=200)
                self.under_way(stub, evaluator, 3)
                self.assertEqual(evaluator.end(), 0)
                self.assertEqual(stub.models(), ['toy'])
                self.assertEqual(list((stub.files / 'merged').iterdir()), [])

    def test_a_stopping_daemon_loses_no_call_under_way(self):
        with Stub('lorax', {'latency_ms': 100}) as stub, self.start(stub, paid=True, server={'probe': False}) as evaluator:
            evaluator.ask(1, self.candidate(stub, self.planted))
            self.assertEqual(evaluator.read()['type'], 'progress')
            evaluator.process.stdin.close()
            evaluator.process.terminate()
            evaluator.process.stdin = open(os.devnull, 'w')
            self.assertEqual(evaluator.process.wait(timeout=60), 0)
            known = totals(stub.files / 'state')
            self.assertEqual((known['answers'], known['unknown']), (stub.bill()['calls'], 0))

    # --- examples and splits --------------------------------------------------------------------

    def test_fidelity_is_a_prefix_and_replicate_is_the_split(self):
        with Stub('llama_cpp') as stub, self.start(stub) as evaluator:
            candidate = self.candidate(stub, self.planted)
            whole = evaluator.evaluate(1, candidate)
            reports = evaluator.progress
            part = evaluator.evaluate(2, candidate, fidelity=10)
            self.assertEqual(part['metrics']['used.calls'], 0)  # they were among the forty
            self.assertEqual(part['objectives']['loss']['n'], 10)
            more = evaluator.evaluate(3, candidate, fidelity=1000)
            self.assertEqual(more['objectives'], whole['objectives'])
            other = evaluator.evaluate(4, candidate, replicate=2)
            self.assertNotEqual(other['objectives'], whole['objectives'])
            # Blocks of thirty among forty: the second begins where the first ends, and goes round.
            block = evaluator.evaluate(5, candidate, fidelity=30, replicate=3)
            self.assertEqual(block['metrics']['used.calls'], 0)
            accuracy = whole['examples']['accuracy']
            self.assertEqual(block['examples']['accuracy'], accuracy[30:] + accuracy[:20])
            whatever = evaluator.evaluate(6, candidate, fidelity=0, replicate=3 * 7)
            self.assertEqual(whatever['objectives'], whole['objectives'])
            # Progress shows what single examples gave, in their order, and ends where the result begins.
            self.assertGreater(len(reports), 5)
            for report in reports:
                self.assertEqual(report['examples']['accuracy'], accuracy[:len(report['examples']['accuracy'])])
            self.assertAlmostEqual(sum(whole['examples']['loss']) / 40, whole['objectives']['loss']['value'], 5)

    def test_splits_that_share_a_prompt_are_refused(self):
        with Stub('llama_cpp') as stub:
            report = stub.files / 'report.jsonl'
            report.write_text(report.read_text() + (stub.files / 'search.jsonl').read_text().splitlines()[0])
            self.assertIn('disjoint', self.refused(stub.config()))

    def test_a_scorer_that_the_server_cannot_feed_is_refused(self):
        with Stub('openai') as stub:
            config = stub.config(objectives=[{'name': 'loss', 'scorer': 'gold_nll'}])
            self.assertIn('log-probabilities of given texts', self.refused(config))

    # --- the server -----------------------------------------------------------------------------

    def test_servers_that_mix_adapters_up_are_found_out_before_anything_is_searched(self):
        for kind in ('llama_cpp', 'vllm'):
            for fault in ('ignore_adapters', 'contaminate_always'):
                with self.subTest(kind=kind, fault=fault), Stub(kind, {fault: True}) as stub:
                    self.assertRegex(self.refused(stub.config()), 'does not apply them|prompt cache')

    def test_a_prompt_cache_that_asks_is_told_no(self):
        for kind in ('llama_cpp', 'vllm'):
            answers = []
            for faults in ({}, {'contaminate': True}):
                with Stub(kind, faults) as stub, self.start(stub) as evaluator:
                    evaluator.evaluate(1, self.candidate(stub, self.nothing))
                    answers.append(evaluator.evaluate(2, self.candidate(stub, self.planted))['objectives'])
            self.assertEqual(answers[0], answers[1])

    def test_what_the_server_does_not_have_is_refused_with_its_name(self):
        with Stub('llama_cpp') as stub:
            config = stub.config()
            config['merge']['adapters'][0]['id'] = 99
            self.assertIn('number 99', self.refused(config))
        with Stub('vllm') as stub:
            self.assertIn('no model "gpt"', self.refused(stub.config(server={'model': 'gpt'})))

    def test_one_provider_has_one_process(self):
        with Stub('llama_cpp') as stub, self.start(stub) as evaluator:
            self.assertIsNotNone(evaluator.hello)
            self.assertIn('one process', self.refused(stub.config()))

    # --- faults ---------------------------------------------------------------------------------

    def test_refusals_delay_and_never_fail(self):
        faults = {'rate_limited': 0.2, 'overloaded': 0.05, 'error': 0.05, 'rate_limited_bare': 0.005}
        with Stub('lorax', faults) as stub, self.start(stub, server={'probe': False, 'retries': 10}) as evaluator:
            answer = evaluator.evaluate(1, self.candidate(stub, self.planted))
            self.assertEqual(answer['type'], 'result', answer)
            self.assertEqual(answer['metrics']['n_ok'], 40)
            self.assertGreater(answer['metrics']['used.retries'], 0)
            self.assertEqual(stub.bill()['calls'], 80)

    def test_exhausted_credit_ends_the_trial_with_its_reason(self):
        with Stub('openai', {'quota': 1}) as stub, self.start(stub, server={'probe': False}) as evaluator:
            answer = evaluator.evaluate(1, {'temperature': 0, 'system': 'plain', 'shots': 'none'})
            self.assertEqual(answer['kind'], 'failed')
            self.assertIn('credit is used up', answer['message'])
            self.assertLess(stub.bill()['requests'], 60)

    def test_free_calls_that_break_off_are_made_again(self):
        faults = {'cut': 0.05, 'close': 0.05}
        with Stub('lorax', faults) as stub, self.start(stub, server={'probe': False, 'retries': 10}) as evaluator:
            answer = evaluator.evaluate(1, self.candidate(stub, self.planted))
            self.assertEqual(answer['type'], 'result', answer)

    def test_cancel_is_answered_while_calls_are_under_way(self):
        with Stub('lorax', {'latency_ms': 50}) as stub, self.start(stub) as evaluator:
            first = evaluator.ask(1, self.candidate(stub, self.planted))
            while evaluator.read()['type'] != 'progress':
                pass
            evaluator.send({'type': 'cancel', 'id': first})
            answer = evaluator.answers(1)[first]
            self.assertEqual((answer['kind'], answer['message']), ('failed', 'cancelled'))
            self.assertEqual(evaluator.evaluate(2, self.candidate(stub, self.planted))['type'], 'result')

    # --- money ----------------------------------------------------------------------------------

    def check_money(self, stub):
        """Every charged call is in the ledger, as an answer or as unknown; nothing was asked twice."""
        bill, known = stub.bill(), totals(stub.files / 'state')
        self.assertEqual(bill['repeated'], 0)
        self.assertEqual(bill['calls'], known['answers'] + known['unknown'])
        self.assertEqual(known['answers'], len(known['keys']))
        self.assertEqual(known['keys'] & known['unknown_keys'], set())
        self.assertLessEqual(known['answers_micros'], bill['money_micros'])
        self.assertLessEqual(bill['money_micros'], known['answers_micros'] + known['unknown_micros'])
        return bill, known

    def test_a_thousand_faulty_calls_are_billed_as_the_server_bills_them(self):  # reliability.md, T26
        faults = {'rate_limited': 0.05, 'rate_limited_bare': 0.002, 'overloaded': 0.02, 'error': 0.02,
                  'cut': 0.02, 'silence': 0.02, 'close': 0.02, 'garbage': 0.02}
        with Stub('lorax', faults, examples='500,20,40') as stub:
            config = stub.config(paid=True, server={'probe': False, 'timeout_s': 2, 'retries': 10},
                                 missing_share=0.5, provider={**stub.config(paid=True)['provider'],
                                                              'concurrency': 32})
            with Evaluator(config, self.home) as evaluator:
                answer = evaluator.evaluate(1, self.candidate(stub, self.planted))
                bill, known = self.check_money(stub)
                self.assertEqual(bill['calls'], 1000)
                self.assertGreater(known['unknown'], 40)
                whys = {r['why'] for r in ledger(stub.files / 'state') if r['e'] == 'unknown'}
                self.assertIn('no reply came: the connection broke off', whys)
                self.assertRegex('\n'.join(whys), 'no reply came: no complete reply within [0-9.]+ s')
                self.assertNotIn('callback', '\n'.join(whys))
                self.assertEqual(answer['type'], 'result', answer)
                # Exactly what is charged for answers, and the worst for what nobody learnt.
                self.assertEqual(answer['cost']['money_micros'],
                                 known['answers_micros'] + known['unknown_micros'])
                self.assertEqual(answer['metrics']['n_failed'] + answer['metrics']['n_ok'], 500)
                # What is unknown stays so: it is not sent again behind anybody's back.
                again = evaluator.evaluate(2, self.candidate(stub, self.planted))
                self.assertEqual(again['metrics']['used.calls'], 0)
                self.assertEqual(stub.bill()['calls'], 1000)
                self.assertEqual(evaluator.end(), 0)
            with Evaluator({**config, 'missing_share': 0}, self.home) as evaluator:
                strict = evaluator.evaluate(3, self.candidate(stub, self.planted))
                self.assertEqual(strict['kind'], 'failed')
                self.assertIn('unknown outcome', strict['message'])
                self.assertEqual(strict['cost']['money_micros'], 0)
                self.assertEqual(stub.bill()['calls'], 1000)

    def test_unknown_outcomes_are_asked_again_only_by_decision(self):
        with Stub('lorax', {'garbage': 0.1}) as stub:
            config = stub.config(paid=True, server={'probe': False})
            with Evaluator(config, self.home) as evaluator:
                self.assertEqual(evaluator.evaluate(1, self.candidate(stub, self.planted))['type'], 'error')
                evaluator.end()
            stub.set_faults(garbage=0)
            unknown = totals(stub.files / 'state')['unknown']
            config['provider']['resend_unknown'] = True
            with Evaluator(config, self.home) as evaluator:
                answer = evaluator.evaluate(2, self.candidate(stub, self.planted))
                self.assertEqual(answer['type'], 'result', answer)
                self.assertEqual(answer['metrics']['used.calls'], unknown)
            self.assertEqual([r['e'] for r in ledger(stub.files / 'state')].count('resend'), unknown)

    def test_kill_dash_nine_in_the_middle_loses_no_answer_and_asks_none_twice(self):
        with Stub('lorax', {'latency_ms': 4}, examples='150,20,40') as stub:
            config = stub.config(paid=True, server={'probe': False}, missing_share=0.5)
            for kill_after in (1, 3, 6, 9):
                with Evaluator(config, self.home) as evaluator:
                    evaluator.ask(1, self.candidate(stub, self.planted))
                    for _ in range(kill_after):
                        self.assertEqual(evaluator.read()['type'], 'progress')
                    evaluator.process.send_signal(signal.SIGKILL)
                    evaluator.process.wait()
            with Evaluator(config, self.home) as evaluator:
                answer = evaluator.evaluate(1, self.candidate(stub, self.planted))
                self.assertEqual(answer['type'], 'result')
                self.assertEqual(evaluator.end(), 0)
            bill, known = stub.bill(), totals(stub.files / 'state')
            self.assertEqual(bill['repeated'], 0)
            # What was under way when it died is unknown; the server may or may not have charged it.
            self.assertLessEqual(known['answers'], bill['calls'])
            self.assertLessEqual(bill['calls'], known['answers'] + known['unknown'])
            self.assertEqual(known['answers'] + known['unknown'], 300)
            self.assertLessEqual(bill['money_micros'], known['answers_micros'] + known['unknown_micros'])
            self.assertLessEqual(known['unknown'], 4 * 8)

    def test_a_cap_is_never_exceeded(self):
        for caps in ({'day': '0.000300'}, {'day': '5', 'job': '0.000300'}):
            with self.subTest(caps), Stub('lorax', examples='200,20,40') as stub:
                config = stub.config(paid=True, server={'probe': False})
                config['provider']['caps'] = caps
                with Evaluator(config, self.home) as evaluator:
                    answer = evaluator.evaluate(1, self.candidate(stub, self.planted))
                    self.assertEqual(answer['kind'], 'failed')
                    self.assertIn('leaves no room', answer['message'])
                    self.assertEqual(evaluator.end(), 0)
                spent = stub.bill()['money_micros']
                self.assertLessEqual(spent, 300)
                self.assertGreater(spent, 100)
                with Evaluator(config, self.home) as evaluator:  # the ledger remembers
                    answer = evaluator.evaluate(1, self.candidate(stub, self.planted))
                    self.assertEqual(answer['kind'], 'failed')
                self.assertLessEqual(stub.bill()['money_micros'], 300)

    def test_the_worst_case_that_is_declared_holds(self):
        with Stub('lorax') as stub, self.start(stub, paid=True, server={'probe': False}) as evaluator:
            worst = evaluator.hello['worst_case']
            self.assertTrue(evaluator.hello['paid'] and evaluator.hello['resumable'])
            answer = evaluator.evaluate(1, self.candidate(stub, self.planted))
            self.assertLessEqual(answer['cost']['money_micros'], worst['money_micros'])
            self.assertLessEqual(answer['cost']['tokens'], worst['tokens'])
            self.assertEqual(answer['cost']['money_micros'], stub.bill()['money_micros'])

    # --- secrets --------------------------------------------------------------------------------

    def test_the_key_appears_nowhere(self):
        key = 'sk-canary-7f3e9a1c55'
        for where in ('file', 'env'):
            with self.subTest(where), Stub('openai', {'echo_key': 0.5}) as stub:
                key_file = pathlib.Path(self.home) / 'key'
                key_file.write_text(key + '\n')
                key_file.chmod(stat.S_IRUSR | stat.S_IWUSR)
                server = {'probe': False, **({'key_file': str(key_file)} if where == 'file' else {'key_env': 'TOY_KEY'})}
                with Evaluator(stub.config(server=server), self.home, {'TOY_KEY': key}) as evaluator:
                    answer = evaluator.evaluate(1, {'temperature': 0, 'system': 'plain', 'shots': 'none'})
                    self.assertIn('wrong key', answer['message'])
                    command = pathlib.Path(f'/proc/{evaluator.process.pid}/cmdline').read_bytes()
                    evaluator.end()
                    said = [''.join(evaluator.lines), evaluator.stderr(), command.decode()]
                key_file.unlink()
                for folder in (pathlib.Path(self.home), stub.files):
                    said += [f.read_text(errors='replace') for f in folder.rglob('*') if f.is_file()]
                for text in said:
                    self.assertNotIn(key, text)

    def test_a_key_file_that_others_can_read_is_refused(self):
        with Stub('openai') as stub:
            key_file = pathlib.Path(self.home) / 'key'
            key_file.write_text('sk-canary-7f3e9a1c55\n')
            key_file.chmod(0o644)
            self.assertIn('chmod 600', self.refused(stub.config(server={'key_file': str(key_file)})))

    def test_every_problem_of_a_configuration_is_named(self):
        config = {'server': {'api': 'gpt', 'url': 'ftp://x'}, 'provider': {'state': 's', 'concurrency': 0},
                  'merge': {'adapters': [{'name': 'a b'}]}, 'tasks': [], 'objectives': [], 'colour': 1}
        said = self.refused(config)
        for pointer in ('/server/api', '/server/url', '/provider/concurrency', '/merge/adapters/0/name', '/tasks',
                        '/objectives', '/colour'):
            self.assertIn(pointer, said)

    def test_check_says_whether_the_server_will_do(self):
        with Stub('vllm') as stub:
            path = pathlib.Path(self.home) / 'check.json'
            path.write_text(json.dumps(stub.config()))
            done = subprocess.run([EVALUATOR, str(path), '--check'], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ''))
            for said in (rf'server +vllm at {stub.url}, model toy\n', r'slots +4 candidates, 8 calls at once\n',
                         r'adapters +7, merged in factor space, with keep fractions: harmful0, useful0,',
                         r'canaries +adapters change answers', r'ledger +\d+ answers and 0 unknown outcomes in ',
                         r'task qa +search 40 examples, select 20 examples, report 40 examples\n',
                         r'objectives +loss \(min\), accuracy \(max\)\n', r'money +calls are free'):
                self.assertRegex(done.stdout, said)
            self.assertLess(len(done.stdout.splitlines()), 10)

    def test_check_tells_slots_and_money_where_the_server_and_the_prices_do(self):
        for kind, said in (('llama_cpp', r'calls? at once \(the server has \d+ slots?\)'),
                           ('lorax', r'a trial costs 0\.\d+ USD at most')):
            with self.subTest(kind), Stub(kind) as stub:
                path = pathlib.Path(self.home) / 'check.json'
                path.write_text(json.dumps(stub.config(paid=True)))
                done = subprocess.run([EVALUATOR, str(path), '--check'], capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ''))
                self.assertRegex(done.stdout, said)

    def test_it_says_what_it_waits_for(self):
        with Stub('vllm') as stub:
            config = stub.config()
        path = pathlib.Path(self.home) / 'dead.json'
        path.write_text(json.dumps({**config, 'merge': {**config['merge'], 'adapters': [{'name': 'a', 'path': 'a'}]},
                                    'tasks': [{'name': 't', **{split: f'{split}.jsonl' for split in SPLITS}}]}))
        for split in SPLITS:
            (path.parent / f'{split}.jsonl').write_text(json.dumps({'prompt': split, 'answer': 'b'}) + '\n')
        with subprocess.Popen([EVALUATOR, str(path), '--check'], stderr=subprocess.PIPE, text=True) as process:
            line = process.stderr.readline()
            process.kill()
        self.assertRegex(line, rf'waiting for the server at {stub.url}, at most 120 s: .*(refused|connect)')

    def test_help_is_printed_and_a_wrong_command_line_refused(self):
        done = subprocess.run([EVALUATOR, '--help'], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertIn('CONFIG --check', done.stdout)
        for words in ([], ['--chekc'], ['a.json', '--what']):
            wrong = subprocess.run([EVALUATOR, *words], capture_output=True, text=True)
            self.assertEqual((wrong.returncode, wrong.stdout), (2, ''))
            self.assertEqual(wrong.stderr, done.stdout)


if __name__ == '__main__':
    unittest.main()
