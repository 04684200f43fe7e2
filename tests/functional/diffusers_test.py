#!/usr/bin/env python3
"""The example that wraps a diffusers pipeline.  Skipped where diffusers and torch are not installed:
they are large, so CI goes without.  They are looked for in this Python, in PARETOD_DIFFUSERS_PYTHON
and in build/peers:
    python3 -m venv build/peers && build/peers/bin/pip install torch diffusers
    tests/functional/diffusers_test.py"""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests/support'))
from daemon import Daemon, wait_for  # noqa: E402

SOURCE = ROOT / 'adapters/python/src'
EXAMPLES = ROOT / 'adapters/python/examples'


def installed():
    return all(importlib.util.find_spec(name) for name in ('torch', 'diffusers'))


@unittest.skipUnless(installed(), 'torch and diffusers are not installed')
class Diffusers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        sys.path[:0] = [str(SOURCE), str(EXAMPLES)]
        global example, paretod, torch
        import diffusion_schedule as example
        import paretod
        import torch

    def trial(self, schedule, images=200, replicate=0):
        return paretod.Trial({'id': 'j:1:1', 'candidate': {'schedule': schedule}, 'fidelity': images,
                              'replicate': replicate}, lambda message: None)

    def test_uniform_steps_are_the_pipelines_own(self):
        """Where the steps are evenly spaced, diffusers' scheduler does the same."""
        from diffusers import DDIMScheduler
        scheduler = DDIMScheduler.from_config(example.PIPELINE.scheduler.config,
                                              timestep_spacing='trailing', set_alpha_to_one=True)
        scheduler.set_timesteps(4)
        x = expected = example.noise(0, 0)
        with torch.inference_mode():
            for t in scheduler.timesteps:
                said = example.PIPELINE.unet(expected, t).sample
                expected = scheduler.step(said, t, expected).prev_sample
        found = example.sample(example.uniform(4), x)
        self.assertEqual(scheduler.timesteps.tolist(), [999, 749, 499, 249])
        self.assertLess((found - expected).abs().max().item(), 1e-4)

    def test_layers_are_dropped_at_their_step_and_come_back(self):
        x = example.noise(0, 0)
        plain = example.sample(example.uniform(2), x)
        kinds = {type(example.LAYERS[name][0]).__name__ for name in example.LAYERS}
        self.assertEqual(kinds, {'ResnetBlock2D', 'Attention'})
        for name in example.LAYERS:
            first, last = example.uniform(2)
            early = example.sample([first, {**last, 'mask': [name]}], x)
            late = example.sample([{**first, 'mask': [name]}, last], x)
            self.assertTrue(torch.isfinite(early).all())
            self.assertGreater((early - plain).abs().max().item(), 0, name)
            self.assertGreater((early - late).abs().max().item(), 0, name)
        self.assertTrue(torch.equal(example.sample(example.uniform(2), x), plain))

    def test_a_dropped_layer_is_skipped(self):
        """Zeroing what the block adds to its shortcut does the same."""
        name = next(n for n, (module, _) in example.LAYERS.items() if hasattr(module, 'conv2'))
        module = example.LAYERS[name][0]
        x = example.noise(0, 0)
        dropped = example.sample([{'at': 500, 'mask': [name]}], x)
        kept = {key: value.clone() for key, value in module.conv2.state_dict().items()}
        with torch.no_grad():
            module.conv2.weight.zero_()
            module.conv2.bias.zero_()
        zeroed = example.sample([{'at': 500}], x)
        module.conv2.load_state_dict(kept)
        self.assertLess((dropped - zeroed).abs().max().item(), 1e-5)

    def test_more_images_extend_those_there_were(self):
        schedule = [{'at': 300, 'mask': []}, {'at': 800, 'mask': []}]
        fresh = example.diffusion(self.trial(schedule, 300, replicate=7)).objectives['fd']
        example.KEPT.clear()
        small = example.diffusion(self.trial(schedule, 100, replicate=7)).objectives['fd']
        grown = example.diffusion(self.trial(schedule, 300, replicate=7)).objectives['fd']
        again = example.diffusion(self.trial(schedule, 100, replicate=7)).objectives['fd']
        self.assertEqual((grown.value, grown.stderr, grown.n), (fresh.value, fresh.stderr, 300))
        self.assertEqual((again.value, again.n), (small.value, 100))
        self.assertNotEqual(small.value, grown.value)

    def test_a_search_through_the_daemon(self):
        config = json.loads((EXAMPLES / 'diffusion-paretod.json').read_text())
        evaluator = config['evaluators']['diffusion-schedule']
        evaluator['argv'] = [sys.executable, str(EXAMPLES / 'diffusion_schedule.py')]
        evaluator['environment'].append(f'PYTHONPATH={SOURCE}')
        job = json.loads((EXAMPLES / 'diffusion-job.json').read_text())
        job['budget']['trials'] = 40
        with Daemon(config) as daemon:
            daemon.start(ready=False)
            wait_for(daemon.answers, 'the daemon, whose evaluators load torch', 900)
            done = paretod.Client(daemon.url).submit(job)
            self.assertEqual(done.wait()['status'], 'succeeded')
            front = done.front()
            self.assertGreater(len(front), 1)
            self.assertGreater(front[0].objectives['fd'].stderr, 0)


if __name__ == '__main__':
    if not installed():
        for other in (os.environ.get('PARETOD_DIFFUSERS_PYTHON'), ROOT / 'build/peers/bin/python'):
            has = other and pathlib.Path(other).exists() and subprocess.run(
                [other, '-c', 'import torch, diffusers'], capture_output=True).returncode == 0
            if has:
                os.execv(other, [str(other), __file__, *sys.argv[1:]])
    unittest.main()
