#!/usr/bin/env python3
"""paretod.cuda on the emulated device: tensors stand in for PyTorch's by the few things asked of them."""
import array
import math
import os
import pathlib
import sys
import types
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'adapters/python/src'))
import paretod.cuda as cuda  # noqa: E402


class Device:
    def __init__(self, kind='cuda', index=0):
        self.type, self.index = kind, index

    def __eq__(self, other):
        return (self.type, self.index) == (other.type, other.index)

    def __str__(self):
        return f'{self.type}:{self.index}'


class Tensor:
    """A float32 tensor of one dimension whose memory is an array's."""

    def __init__(self, values, device=None, dtype='torch.float32', contiguous=True):
        self.values = array.array('f', values)
        self.shape = (len(self.values),)
        self.device = device or Device()
        self.dtype = dtype
        self.contiguous = contiguous

    def data_ptr(self):
        return self.values.buffer_info()[0]

    def numel(self):
        return len(self.values)

    def is_floating_point(self):
        return self.dtype.startswith(('torch.float', 'torch.bfloat'))

    def is_contiguous(self):
        return self.contiguous


class Model:
    def __init__(self, **tensors):
        self.tensors = tensors

    def state_dict(self):
        return self.tensors


def model(*values, size=5):
    return {'w': Tensor([values[0]] * size), 'b.x': Tensor([values[-1]] * 3),
            'steps': Tensor([7], dtype='torch.int64')}


class Cuda(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.library = cuda.load_library(os.environ['PARETOD_CUDA_LIBRARY'])
        # Streams are only handed on.
        torch = types.ModuleType('torch')
        torch.cuda = types.SimpleNamespace(current_stream=lambda device: types.SimpleNamespace(cuda_stream=0))
        sys.modules['torch'] = torch

    def sources(self, like, models, **options):
        return cuda.Sources(like, models, library=self.library, **options)

    def refused(self, *needles):
        return self.assertRaisesRegex(cuda.CudaMergeError, '.*'.join(needles))

    def test_merges_into_a_live_model_again_and_again(self):
        live = Model(**model(0.0))
        held = self.sources(live, [model(1.0), model(10.0)], normalize=False)
        for weights in ([2, 0.5], [1, -1]):
            cuda.merge_into(live, held.candidate(weights))
            self.assertEqual(list(live.tensors['w'].values), [weights[0] + 10 * weights[1]] * 5)
            self.assertEqual(list(live.tensors['steps'].values), [7])
        self.assertEqual(len(held._plans), 1)

    def test_groups_bases_densities_and_several_candidates_at_once(self):
        base = model(1.0)
        outputs = [model(0.0), model(0.0)]
        held = self.sources(outputs[0], [model(3.0, 2.0), model(5.0, 9.0)], base=base, method='ties',
                            groups={'biases': ['b.']})
        both = [held.candidate([[1, 1], [1, 0.5]], lambdas=[0.5, 2]),
                held.candidate([1, 3], densities=[1, 0], lambdas=1)]
        cuda.merge_into(outputs, both)
        # 1 + lambda (sum w (x - base)) / (sum w); groups: biases, then all others.
        self.assertEqual(list(outputs[0]['b.x'].values), [1 + 0.5 * (1 * 1 + 1 * 8) / 2] * 3)
        self.assertTrue(math.isclose(outputs[0]['w'].values[0], 1 + 2 * (2 + 0.5 * 4) / 1.5, rel_tol=1e-6))
        self.assertEqual(list(outputs[1]['w'].values), [3.0] * 5)

    def test_angles_and_importances(self):
        live = model(0.0)
        # At a right angle; halfway both weigh sin 45 / sin 90.
        one, other = ({'w': Tensor(values), 'b.x': Tensor(values[:3]), 'steps': Tensor([7], dtype='torch.int64')}
                      for values in ([1, 0, 0, 0, 0], [0, 2, 0, 0, 0]))
        held = self.sources(live, [one, other], method='slerp', groups={'biases': ['b.']})
        cuda.merge_into(live, held.candidate(t=[1, 0.5]))
        self.assertEqual([round(x, 6) for x in live['b.x'].values], [0, 2, 0])
        self.assertEqual([round(x, 6) for x in live['w'].values], [0.707107, 1.414214, 0, 0, 0])
        held = self.sources(live, [model(1.0), model(4.0)], method='fisher', importances=[model(2.0), model(1.0)])
        cuda.merge_into(live, held.candidate([1, 4]))
        self.assertEqual(list(live['w'].values), [(1 * 2 * 1 + 4 * 1 * 4) / (1 * 2 + 4 * 1)] * 5)

    def test_tied_tensors_are_merged_once(self):
        tied = Tensor([0.0] * 4)
        one = {'a': Tensor([1.0] * 4), 'b': Tensor([1.0] * 4)}
        cuda.merge_into({'a': tied, 'b': tied}, self.sources({'a': tied, 'b': tied}, [one]).candidate([1]))
        self.assertEqual(list(tied.values), [1.0] * 4)

    def test_says_what_is_wrong(self):
        live = model(0.0)
        with self.refused('weights has to be 2 numbers'):
            self.sources(live, [model(1.0), model(1.0)]).candidate([1])
        with self.refused('source 0 of w has shape', '6', '5'):
            cuda.merge_into(live, self.sources(live, [model(1.0, size=6)]).candidate([1]))
        other = model(1.0)
        other['w'].device = Device('cpu', None)
        with self.refused('source 0 of w is on cpu'):
            cuda.merge_into(live, self.sources(live, [other]).candidate([1]))
        other['w'].device, other['w'].contiguous = Device(), False
        with self.refused('not contiguous'):
            cuda.merge_into(live, self.sources(live, [other]).candidate([1]))
        other['w'].contiguous, other['w'].dtype = True, 'torch.float64'
        with self.refused('torch.float64 is not merged'):
            cuda.merge_into(live, self.sources(live, [other]).candidate([1]))
        with self.refused('overlaps'):
            cuda.merge_into(live, self.sources(live, [live]).candidate([1]))
        with self.refused('della is merged by the processor only'):
            cuda.merge_into(live, self.sources(live, [model(1.0)], base=model(2.0), method='della').candidate([1]))
        with self.refused('slerp is between two sources, not 1'):
            cuda.merge_into(live, self.sources(live, [model(1.0)], method='slerp').candidate(t=0.5))
        with self.refused('importances has to be 2 state dicts'):
            self.sources(live, [model(1.0), model(1.0)], method='fisher', importances=[model(1.0)])
        with self.refused('sum to 0'):
            cuda.merge_into(live, self.sources(live, [model(1.0), model(1.0)]).candidate([1, -1]))
        with self.refused('source 0 has no tensor w'):
            cuda.merge_into(live, self.sources(live, [{}]).candidate([1]))
        with self.refused('does not load', 'PARETOD_CUDA_LIBRARY'):
            cuda.load_library('/no/such/library.so')


if __name__ == '__main__':
    unittest.main()
