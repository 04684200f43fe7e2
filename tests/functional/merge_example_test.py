#!/usr/bin/env python3
"""adapters/python/examples/merge as its README runs it: specialists trained with PyTorch, written in
shards, merged, scored by PyTorch, searched by map, exported.  Skipped where torch is not installed: it
is large, so CI goes without.  It is looked for in this Python, in PARETOD_TORCH_PYTHON and in build/peers:
    python3 -m venv build/peers && build/peers/bin/pip install torch numpy
    tests/functional/merge_example_test.py"""
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests/support'))
from daemon import BINARY, Daemon, wait_for  # noqa: E402

SOURCE = ROOT / 'adapters/python/src'
EXAMPLE = ROOT / 'adapters/python/examples/merge'
NEEDED = ('torch', 'numpy')


def installed():
    return all(importlib.util.find_spec(name) for name in NEEDED)


@unittest.skipUnless(installed(), 'torch and numpy are not installed')
class MergeExample(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix='paretod-merge-example-'))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        for file in EXAMPLE.iterdir():
            if file.is_file():
                shutil.copy(file, cls.folder)
        subprocess.run([sys.executable, 'make_models.py'], cwd=cls.folder, check=True)
        sys.path[:0] = [str(SOURCE), str(cls.folder)]
        global paretod, torch, make_models
        import make_models
        import paretod
        import torch

    def accuracies(self, model):
        """On the points of the scorer, of a folder of one file or of shards."""
        state = {}
        for file in sorted(model.glob('*.safetensors')):
            with paretod.Weights(str(file), 'torch') as weights:
                state.update(weights.state_dict())
        network = make_models.network()
        network.load_state_dict(state)
        points, labels = make_models.data(seed=2)
        with torch.no_grad():
            return ((network(points) > 0) == (labels > 0.5)).float().mean(0).tolist()

    def test_a_search_finds_a_merge_that_does_both(self):
        self.assertEqual(len(list((self.folder / 'models/base').glob('model-0000?-of-00002.safetensors'))), 2)
        specialists = [self.accuracies(self.folder / 'models' / name) for name in ('inside', 'left')]
        config = json.loads((self.folder / 'paretod.json').read_text())
        block = config['evaluators']['two-tasks']
        block['recipe'] = str(self.folder / block['recipe'])
        block['argv'] = [sys.executable, str(self.folder / 'score.py')]
        block['environment'] = [f'PYTHONPATH={SOURCE}']
        with Daemon(config) as daemon:
            daemon.start(ready=False)
            wait_for(daemon.answers, 'the daemon, whose evaluator loads torch', 300)
            job = paretod.Client(daemon.url).submit(json.loads((self.folder / 'job.json').read_text()))
            self.assertEqual(job.wait(progress=False)['status'], 'succeeded')
            # The best of each task is as good as its specialist, and some merge is good at both.
            trials = [trial for trial in job.trials() if trial['outcome']['status'] == 'ok']
            found = [[trial['outcome']['objectives'][name]['value'] for name in ('inside', 'left')] for trial in trials]
            for task in (0, 1):
                self.assertGreater(max(y[task] for y in found), specialists[task][task] - 0.02)
            worst_of_specialists = max(min(y) for y in specialists)
            self.assertGreater(max(min(y) for y in found), worst_of_specialists)
            # A preference is answered for nothing, and what is chosen is a model that PyTorch scores alike.
            answer = job.front(source='predicted', preference={'inside': 0.5, 'left': 0.5}).chosen
            self.assertIsNotNone(answer)
            best = max(trials, key=lambda t: min(m['value'] for m in t['outcome']['objectives'].values()))
            out = self.folder / 'chosen'
            subprocess.run([BINARY, 'export', job.id, '--trial', str(best['number']), '-o', str(out), '--url',
                            daemon.url], check=True, capture_output=True)
        for value, name in zip(self.accuracies(out), ('inside', 'left'), strict=True):
            self.assertAlmostEqual(value, best['outcome']['objectives'][name]['value'], places=6)


if __name__ == '__main__':
    if not installed():
        for other in (os.environ.get('PARETOD_TORCH_PYTHON'), ROOT / 'build/peers/bin/python'):
            has = other and pathlib.Path(other).exists() and subprocess.run(
                [other, '-c', f'import {", ".join(NEEDED)}'], capture_output=True).returncode == 0
            if has:
                os.execv(other, [str(other), __file__, *sys.argv[1:]])
    unittest.main()
