"""Reads and writes small safetensors files of float32, for tests."""
import array
import json
import pathlib
import random


def write(path, tensors):
    """tensors: {name: (shape, numbers)}"""
    header, data = {}, b''
    for name, (shape, numbers) in tensors.items():
        packed = array.array('f', numbers).tobytes()
        header[name] = {'dtype': 'F32', 'shape': list(shape), 'data_offsets': [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_bytes(len(text).to_bytes(8, 'little') + text + data)


def read(path):
    """{name: (dtype, shape, bytes)}"""
    content = pathlib.Path(path).read_bytes()
    length = int.from_bytes(content[:8], 'little')
    header = json.loads(content[8:8 + length])
    header.pop('__metadata__', None)
    return {name: (entry['dtype'], entry['shape'],
                   content[8 + length + entry['data_offsets'][0]:8 + length + entry['data_offsets'][1]])
            for name, entry in header.items()}


def floats(path):
    return {name: array.array('f', data).tolist() for name, (_, _, data) in read(path).items()}


def models(folder, names=('base', 'math', 'code')):
    """Folders of models of one shape, with a configuration and a tokenizer beside the first."""
    for number, name in enumerate(names):
        draw = random.Random(number)
        write(f'{folder}/{name}/model.safetensors',
              {'model.embed.weight': ((10, 4), [draw.gauss(0, 1) for _ in range(40)]),
               'model.layers.0.self_attn.q.weight': ((4, 4), [draw.gauss(0, 1) for _ in range(16)]),
               'model.layers.0.mlp.weight': ((4, 4), [draw.gauss(0, 1) for _ in range(16)]),
               'lm_head.bias': ((3,), [draw.gauss(0, 1) for _ in range(3)])})
    first = pathlib.Path(folder) / names[0]
    (first / 'config.json').write_text(json.dumps({'architectures': ['Toy'], 'torch_dtype': 'float32'}))
    (first / 'tokenizer.json').write_text('{}')
    (first / 'training_log.txt').write_text('not part of the model')
