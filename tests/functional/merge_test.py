#!/usr/bin/env python3
"""Merging with the real binary: the command line, the evaluator in a real daemon with a real program,
exports, what a kill leaves behind, docs/merging.md.  numpy and torch are tested where they are."""
import array
import importlib.util
import json
import math
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import safetensors  # noqa: E402
from daemon import BINARY, ROOT, Daemon, wait_for  # noqa: E402

sys.path.insert(0, str(ROOT / 'adapters/python/src'))
import paretod  # noqa: E402

EMULATED = os.environ.get('PARETOD_CUDA_EVALUATOR', str(ROOT / 'build/release/tests/cuda_evaluator_emulated'))
PROGRAM = ROOT / 'tests/support/evaluators/merged.py'
RECIPE = {'method': 'task_arithmetic', 'base': 'base',
          'sources': [{'name': 'math', 'path': 'math'}, {'name': 'code', 'path': 'code'}]}


def cli(*words, code=0, cwd=None, **environment):
    done = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=120,
                          env={**os.environ, **environment})
    if done.returncode != code:
        raise AssertionError(f'{words}: exit status {done.returncode}\n{done.stdout}{done.stderr}')
    return done.stdout if code == 0 else done.stderr


def halves(data):
    """float16 numbers."""
    return struct.unpack(f'<{len(data) // 2}e', data)


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='paretod-merge-test-'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        safetensors.models(self.folder)
        (self.folder / 'recipe.json').write_text(json.dumps(RECIPE))

    def large_models(self):
        """Three that a file of a megabyte cannot hold; their shapes."""
        shapes = {'model.embed.weight': (1000, 200), 'model.layers.0.weight': (600, 200),
                  'model.layers.1.weight': (700, 200), 'lm_head.bias': (77,)}
        for number, name in enumerate(('base', 'math', 'code')):
            safetensors.write(self.folder / name / 'model.safetensors', {
                tensor: (shape, [(i * 7 + number * 13) % 113 / 64 for i in range(math.prod(shape))])
                for tensor, shape in shapes.items()})
        return shapes

    def expected(self, weights, lam=1):
        base, math, code = (safetensors.floats(self.folder / name / 'model.safetensors')
                            for name in ('base', 'math', 'code'))
        return {name: [b + lam * (weights[0] * (m - b) + weights[1] * (c - b))
                       for b, m, c in zip(base[name], math[name], code[name])] for name in base}

    def assertClose(self, merged, expected):
        self.assertEqual(sorted(merged), sorted(expected))
        for name in expected:
            for got, want in zip(merged[name], expected[name], strict=True):
                self.assertAlmostEqual(got, want, places=5)


class CommandLine(Folder):
    def recipe(self, **fields):
        (self.folder / 'recipe.json').write_text(json.dumps({**RECIPE, **fields}))
        return self.folder / 'recipe.json'

    def test_merges_and_keeps_what_belongs_to_the_model(self):
        sources = [{**RECIPE['sources'][0], 'weight': 0.5}, {**RECIPE['sources'][1], 'weight': -0.25}]
        out = self.folder / 'out'
        said = cli('merge', '--recipe', self.recipe(sources=sources, **{'lambda': 2}), '-o', out)
        self.assertIn('merged 2 models by task_arithmetic', said)
        self.assertClose(safetensors.floats(out / 'model.safetensors'), self.expected((0.5, -0.25), 2))
        self.assertEqual(sorted(path.name for path in out.iterdir()),
                         ['config.json', 'mergekit.yml', 'model.safetensors', 'recipe.json', 'tokenizer.json'])
        # What was written merges to the same again.
        cli('merge', '--recipe', out / 'recipe.json', '-o', self.folder / 'again')
        self.assertEqual((out / 'model.safetensors').read_bytes(),
                         (self.folder / 'again/model.safetensors').read_bytes())
        refused = cli('merge', '--recipe', out / 'recipe.json', '-o', out, code=1)
        self.assertIn('holds a model already', refused)

    def test_dtypes_and_shards(self):
        out = self.folder / 'out'
        cli('merge', '--recipe', self.recipe(dtype='bfloat16'), '-o', out)
        self.assertEqual({entry[0] for entry in safetensors.read(out / 'model.safetensors').values()}, {'BF16'})
        self.assertEqual(json.loads((out / 'config.json').read_text())['torch_dtype'], 'bfloat16')

    def test_small_shards_have_an_index_and_merge_again(self):
        shapes = self.large_models()
        sources = [{**RECIPE['sources'][0], 'weight': 0.5}, {**RECIPE['sources'][1], 'weight': -0.25}]
        whole, shards, again = (self.folder / name for name in ('whole', 'shards', 'again'))
        cli('merge', '--recipe', self.recipe(sources=sources), '-o', whole)
        said = cli('merge', '--recipe', self.recipe(sources=sources), '-o', shards, '--shard-size', '1')
        self.assertIn('in 4 files', said)  # the index too
        self.assertFalse((shards / 'model.safetensors').exists())
        index = json.loads((shards / 'model.safetensors.index.json').read_text())
        self.assertEqual(index['metadata']['total_size'], 4 * sum(map(math.prod, shapes.values())))
        self.assertEqual(sorted(index['weight_map']), sorted(shapes))
        self.assertEqual(sorted(set(index['weight_map'].values())),
                         [f'model-0000{n}-of-00003.safetensors' for n in (1, 2, 3)])
        expected = safetensors.read(whole / 'model.safetensors')
        found = {}
        for file in set(index['weight_map'].values()):
            tensors = safetensors.read(shards / file)
            self.assertLessEqual(sum(len(tensor[2]) for tensor in tensors.values()), 1_000_000)
            self.assertEqual({index['weight_map'][name] for name in tensors}, {file})
            found.update(tensors)
        self.assertEqual(found, expected)
        # A folder of shards is a model like any other, a shard that is missing is named.
        recipe = {'method': 'linear', 'sources': [{'name': 'a', 'path': 'shards'}, {'name': 'b', 'path': 'whole'}]}
        (self.folder / 'recipe.json').write_text(json.dumps(recipe))
        cli('merge', '--recipe', self.folder / 'recipe.json', '-o', again, '--shard-size', '1')
        for file in set(index['weight_map'].values()):
            self.assertEqual(safetensors.read(again / file), safetensors.read(shards / file))
        refused = cli('merge', '--recipe', self.folder / 'recipe.json', '-o', shards, code=1)
        self.assertIn('holds a model already (model.safetensors.index.json)', refused)
        (shards / 'model-00002-of-00003.safetensors').unlink()
        missing = cli('merge', '--recipe', self.folder / 'recipe.json', '-o', self.folder / 'no', code=1)
        self.assertIn('model-00002-of-00003.safetensors', missing)

    def test_errors_name_what_is_wrong(self):
        out = self.folder / 'out'
        self.assertIn('needs --recipe FILE and -o FOLDER', cli('merge', code=2))
        self.assertIn('cannot read the recipe', cli('merge', '-r', self.folder / 'no', '-o', out, code=1))
        self.assertIn('/gamma: means nothing', cli('merge', '-r', self.recipe(gamma=0.1), '-o', out, code=1))
        safetensors.write(self.folder / 'code/model.safetensors', {'model.embed.weight': ((2,), [1, 2])})
        differs = cli('merge', '-r', self.recipe(), '-o', out, code=1)
        self.assertIn('it lacks "lm_head.bias"', differs)
        self.assertIn('"model.embed.weight" is [2] instead of [10, 4]', differs)
        with open(self.folder / 'math/model.safetensors', 'r+b') as file:
            file.truncate(100)
        self.assertIn('cut short', cli('merge', '-r', self.recipe(), '-o', out, code=1))
        self.assertFalse(out.exists())
        self.assertIn('needs at least', cli('merge', '-r', self.tiny_memory(), '-o', out, '--memory', '1', code=1))

    def test_what_is_not_finite_is_named_and_mergekit_gets_folders(self):
        source = self.folder / 'math/model.safetensors'
        tensors = {name: (shape, list(array.array('f', data)))
                   for name, (_, shape, data) in safetensors.read(source).items()}
        tensors['lm_head.bias'][1][1] = math.nan
        safetensors.write(source, tensors)
        out = self.folder / 'out'
        done = subprocess.run([BINARY, 'merge', '-r', self.recipe(base='base/model.safetensors'), '-o', out],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('paretod: warning: 1 number of the merged model is not finite (1 NaN, 0 infinite), '
                      'in 1 tensor: "lm_head.bias" (1 of 3)', done.stderr)
        self.assertTrue((out / 'config.json').exists())
        text = (out / 'mergekit.yml').read_text()
        self.assertIn(f'base_model: "{self.folder}/base"\n', text)
        self.assertIn(f'mergekit cannot read the folder {self.folder}/code: put', done.stdout)
        self.assertTrue(text.startswith('# mergekit cannot read the folder'), text)
        opposite = [{**RECIPE['sources'][0], 'weight': 1}, {**RECIPE['sources'][1], 'weight': -1}]
        refused = self.recipe(method='linear', sources=opposite)
        recipe = json.loads(refused.read_text())
        del recipe['base']
        refused.write_text(json.dumps(recipe))
        self.assertIn('/sources: the weights sum to 0', cli('merge', '-r', refused, '-o', out / 'no', code=1))

    def tiny_memory(self):
        safetensors.models(self.folder)
        return self.recipe(method='ties')


class Evaluator(Folder):
    def daemon(self, argv, **more):
        # Paths of the configuration count from its own folder, which the daemon helper makes.
        (self.folder / 'weights').mkdir(exist_ok=True)
        block = {'type': 'merge', 'recipe': str(self.folder / 'recipe.json'), 'argv': argv,
                 'weights_directory': str(self.folder / 'weights'), **more}
        return Daemon({'evaluators': {'merges': block}})

    def folders(self):
        return [path for path in (self.folder / 'weights').glob('*/*') if path.is_dir()]

    def test_a_search_and_the_export_of_a_trial(self):
        with self.daemon(['python3', str(PROGRAM)], processes=2) as daemon:
            daemon.start()
            client = paretod.Client(daemon.url)
            job = client.submit({'name': 'm', 'optimizer': 'random', 'evaluator': 'merges', 'seed': 1,
                                 'budget': {'trials': 40}})
            self.assertEqual(job.wait(progress=False)['status'], 'succeeded')
            trial = next(t for t in job.trials() if t['number'] == 11)
            weights = trial['candidate']['weight.math'], trial['candidate']['weight.code']
            out = self.folder / 'chosen'
            cli('export', job.id, '--trial', '11', '-o', out, '--url', daemon.url)
            merged = safetensors.floats(out / 'model.safetensors')
            self.assertClose(merged, self.expected(weights))
            numbers = [x for values in merged.values() for x in values]
            self.assertAlmostEqual(trial['outcome']['objectives']['mean']['value'], sum(numbers) / len(numbers),
                                   places=6)
            recipe = json.loads(cli('export', job.id, '--trial', '11', '--url', daemon.url))
            self.assertEqual([s['weight'] for s in recipe['sources']], list(weights))
            self.assertIn('no trial', cli('export', job.id, '--trial', '99', '--url', daemon.url, code=1))
            other = client.submit({'name': 'z', 'optimizer': 'random', 'evaluator': 'zdt1', 'budget': {'trials': 1}})
            other.wait(progress=False)
            self.assertIn('merges no models; trials of the evaluator types "merge" and "diffusion"', cli('export', other.id, '--trial', '1', '--url', daemon.url, code=1))
            wait_for(lambda: not self.folders(), 'the weights to go')

    def test_a_trial_exports_in_shards(self):
        self.large_models()
        with self.daemon(['python3', str(PROGRAM)]) as daemon:
            daemon.start()
            job = paretod.Client(daemon.url).submit({'name': 'm', 'optimizer': 'random', 'evaluator': 'merges',
                                                     'seed': 1, 'budget': {'trials': 2}})
            self.assertEqual(job.wait(progress=False)['status'], 'succeeded')
            whole, shards = self.folder / 'whole', self.folder / 'shards'
            for out, size in ((whole, '5000'), (shards, '1')):
                cli('export', job.id, '--trial', '2', '-o', out, '--shard-size', size, '--url', daemon.url)
        index = json.loads((shards / 'model.safetensors.index.json').read_text())['weight_map']
        self.assertEqual(len(set(index.values())), 3)
        expected = safetensors.read(whole / 'model.safetensors')
        self.assertEqual({name: safetensors.read(shards / file)[name] for name, file in index.items()}, expected)

    def test_a_combination_of_checkpoints_exports_and_scores_the_same(self):
        digits = ROOT / 'config/examples/data/digits'
        model = json.loads((digits / 'model.json').read_text())
        for entry in model['checkpoints'] + model['ema']:
            entry['file'] = str(digits / entry['file'])
        for field in ('features', 'reference'):
            model[field] = str(digits / model[field])
        model['checkpoints'] = model['checkpoints'][::8]
        out = self.folder / 'exported'
        (self.folder / 'model.json').write_text(json.dumps(model))
        # The exported model beside another checkpoint, alone with a coefficient of one.
        exported = {**model, 'ema': [], 'checkpoints': [
            {'file': str(out / 'model.safetensors'), 'iteration': 1}, model['checkpoints'][0] | {'iteration': 2}]}
        for entry in exported['checkpoints'][1:]:
            widened = {name: (shape, halves(data)) for name, (_, shape, data) in safetensors.read(entry['file']).items()}
            entry['file'] = str(self.folder / 'other.safetensors')
            safetensors.write(entry['file'], widened)
        block = {'type': 'diffusion', 'samples': 200, 'steps': 3}
        job = {'name': 'd', 'optimizer': 'random', 'evaluator': 'searched', 'seed': 3, 'budget': {'trials': 4}}
        with Daemon({'evaluators': {'searched': {**block, 'model': str(self.folder / 'model.json')}}}) as daemon:
            daemon.start()
            client = paretod.Client(daemon.url)
            found = client.submit(job)
            self.assertEqual(found.wait(progress=False)['status'], 'succeeded')
            trial = next(t for t in found.trials() if t['number'] == 2)
            cli('export', found.id, '--trial', '2', '-o', out, '--shard-size', '5000', '--url', daemon.url)
            recipe = json.loads((out / 'recipe.json').read_text())
            self.assertEqual([source['weight'] for source in recipe['sources']], trial['candidate']['alpha'])
            self.assertIn('ema-0_98', [source['name'] for source in recipe['sources']])
            self.assertIn('merge_method: linear', (out / 'mergekit.yml').read_text())
            (self.folder / 'exported.json').write_text(json.dumps(exported))
            daemon.config.write_text(json.dumps({'evaluators': {
                'exported': {**block, 'model': str(self.folder / 'exported.json')}}}))
            self.assertEqual(daemon.stop(), 0)
            daemon.start()
            alone = paretod.Client(daemon.url).submit({
                **job, 'evaluator': 'exported', 'budget': {'trials': 1}, 'initial': [{'alpha': [1, 0]}]})
            self.assertEqual(alone.wait(progress=False)['status'], 'succeeded')
            scores = [one['outcome']['objectives']['fd']['value'] for one in (trial, next(iter(alone.trials())))]
            self.assertAlmostEqual(scores[1] / scores[0], 1, delta=1e-3)

    def test_after_a_kill_no_weights_stay(self):
        seen = self.folder / 'seen'
        with self.daemon(['python3', str(PROGRAM), 'hang', str(seen)]) as daemon:
            # "hang" is argv[1], the file argv[2].
            daemon.start()
            client = paretod.Client(daemon.url)
            client.submit({'name': 'm', 'optimizer': 'random', 'evaluator': 'merges', 'budget': {'trials': 4}})
            wait_for(lambda: seen.exists() and seen.read_text().endswith('\n'), 'the program to see weights')
            left = pathlib.Path(seen.read_text().splitlines()[0])
            self.assertTrue(left.exists())
            daemon.kill()
            self.assertTrue(left.exists())  # nobody could remove it
            (self.folder / 'recipe.json').write_text(json.dumps(RECIPE))
            config = json.loads(daemon.config.read_text())
            config['evaluators']['merges']['argv'] = ['python3', str(PROGRAM)]
            daemon.config.write_text(json.dumps(config))
            daemon.start()
            self.assertFalse(left.exists())
            client = paretod.Client(daemon.url)
            again = client.job(next(client.jobs())['id'])
            self.assertEqual(again.wait(progress=False)['status'], 'succeeded')
            wait_for(lambda: not self.folders(), 'the weights to go')


    def test_on_a_gpu_and_through_a_fault_of_it(self):
        fault = self.folder / 'fault'
        block = {'type': 'merge', 'recipe': str(self.folder / 'recipe.json'), 'argv': ['python3', str(PROGRAM)],
                 'weights_directory': str(self.folder / 'weights')}
        (self.folder / 'weights').mkdir()
        device = {'device': 'cuda', 'devices': ['0', '0'], 'device_program': EMULATED,
                  'environment': [f'CUDA_EMULATION_FAULT={fault}']}
        with Daemon({'evaluators': {'processor': block, 'device': {**block, **device}}}) as daemon:
            daemon.start()
            client = paretod.Client(daemon.url)
            values = {}
            for evaluator in ('processor', 'device'):
                if evaluator == 'device':
                    fault.write_text('at the next merge')
                job = client.submit({'name': evaluator, 'optimizer': 'random', 'evaluator': evaluator, 'seed': 1,
                                     'budget': {'trials': 60}})
                self.assertEqual(job.wait(progress=False)['status'], 'succeeded')
                values[evaluator] = {t['number']: (t['candidate'], t['outcome']['status'], t['outcome']['objectives'])
                                     for t in job.trials()}
            self.assertFalse(fault.exists())
            self.assertIn('job ended', daemon.log.read_text())  # attempts that went with the process
            self.assertEqual(values['device'], values['processor'])
            self.assertEqual({status for _, status, _ in values['device'].values()}, {'ok'})
            weights = [values['device'][7][0][f'weight.{source}'] for source in ('math', 'code')]
            cli('export', job.id, '--trial', '7', '-o', self.folder / 'chosen', '--url', daemon.url)
            self.assertClose(safetensors.floats(self.folder / 'chosen/model.safetensors'), self.expected(weights))


class Weights(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = f'{self.folder.name}/m/model.safetensors'
        safetensors.write(self.path, {'a': ((2, 3), [1, 2, 3, 4, 5, 6]), 'empty': ((0, 2), []), 'b': ((), [7])})

    def test_bytes_and_names_need_nothing(self):
        with paretod.Weights(self.path, 'numpy') as weights:
            self.assertEqual(list(weights), ['a', 'empty', 'b'])
            self.assertEqual(weights.memory('a').cast('f').tolist(), [1, 2, 3, 4, 5, 6])
            self.assertEqual(weights.info['a'].shape, (2, 3))
        with self.assertRaisesRegex(ValueError, 'type "merge"'):
            paretod.merged(paretod.Trial({'id': 'x', 'candidate': {}}, print))
        with self.assertRaisesRegex(ValueError, 'framework'):
            paretod.Weights(self.path, 'jax')

    @unittest.skipUnless(importlib.util.find_spec('numpy'), 'numpy is not here')
    def test_numpy_shares_memory_and_outlives_the_file(self):
        with paretod.Weights(self.path, 'numpy') as weights:
            a, again = weights['a'], weights['a']
        os.unlink(self.path)
        self.assertEqual(a.tolist(), [[1, 2, 3], [4, 5, 6]])
        a[0, 0] = 9  # in this process alone
        self.assertEqual(again[0, 0], 9)
        self.assertEqual(weights['empty'].shape, (0, 2))
        self.assertEqual(weights['b'].shape, ())

    @unittest.skipUnless(importlib.util.find_spec('torch'), 'torch is not here')
    def test_torch_shares_memory(self):
        with paretod.Weights(self.path, 'torch') as weights:
            state = weights.state_dict()
        self.assertEqual(state['a'].tolist(), [[1, 2, 3], [4, 5, 6]])
        weights['a'][1, 2] = 8
        self.assertEqual(state['a'][1, 2], 8)
        self.assertEqual(tuple(state['empty'].shape), (0, 2))


class Doc(unittest.TestCase):
    def test_its_commands_run(self):
        text = (ROOT / 'docs/merging.md').read_text()
        scripts = re.findall(r'<!-- \w+ -->\n```bash\n(.*?)```', text, re.S)
        self.assertEqual(len(scripts), 2)
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = str(free.getsockname()[1])
        script = '\n'.join(scripts).replace('8780', port) + '\nkill %1; wait %1; echo "exit status $?"\n'
        with tempfile.TemporaryDirectory() as directory:
            safetensors.models(f'{directory}/models')
            env = {**os.environ, 'PATH': f'{pathlib.Path(BINARY).parent}:{os.environ["PATH"]}',
                   'PARETOD_URL': f'http://127.0.0.1:{port}', 'PYTHONPATH': str(ROOT / 'adapters/python/src')}
            # The configuration passes no PYTHONPATH on, so the package stands beside the program.
            (pathlib.Path(directory) / 'paretod').symlink_to(ROOT / 'adapters/python/src/paretod')
            done = subprocess.run(['bash', '-m', '-c', script], cwd=directory, env=env, text=True,
                                  capture_output=True, timeout=300)
        self.assertIn('merge_method: ties', done.stdout, done.stderr)
        self.assertIn('merged 2 models by task_arithmetic into chosen', done.stdout, done.stderr)
        self.assertIn('"method": "task_arithmetic"', done.stdout, done.stderr)
        self.assertIn('exit status 0', done.stdout, done.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2)
