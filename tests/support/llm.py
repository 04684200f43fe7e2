"""Stub inference servers and the real paretod-llm-evaluator, for functional tests and scripts."""
import json
import os
import pathlib
import subprocess
import tempfile
import urllib.request

from daemon import BINARY

BUILD = pathlib.Path(BINARY).resolve().parents[1]
STUB = BUILD / 'tests' / 'llm_stub'
EVALUATOR = BUILD / 'evaluators' / 'paretod-llm-evaluator'
SPLITS = ('search', 'select', 'report')
PRICES = {'version': '2026-11', 'currency': 'USD', 'input_per_million': '0.15', 'output_per_million': '0.60'}


class Stub:
    """One inference server around the toy model, with its adapters and examples as files."""

    def __init__(self, kind, faults=None, adapters='3,3,1', examples='40,20,40', seed=1, files=None):
        self.kind = kind
        self.home = tempfile.TemporaryDirectory(prefix='paretod-llm-')
        self.files = pathlib.Path(files or self.home.name)
        self.process = subprocess.Popen(
            [STUB, kind, '--files', str(self.files), '--adapters', adapters, '--examples', examples,
             '--seed', str(seed), '--faults', json.dumps(faults or {})], stdout=subprocess.PIPE, text=True)
        self.url = f'http://127.0.0.1:{int(self.process.stdout.readline())}'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.home.cleanup()

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {'Content-Type': 'application/json'})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    def load(self, name, path):
        """Loads an adapter as anybody may (vLLM, SGLang)."""
        body = json.dumps({'lora_name': name, 'lora_path': str(path)}).encode()
        route = '/v1/load_lora_adapter' if self.kind == 'vllm' else '/load_lora_adapter'
        with urllib.request.urlopen(urllib.request.Request(self.url + route, body), timeout=60) as reply:
            reply.read()

    def bill(self):
        return self.call('/bill')

    def models(self):
        """Names that the server knows, loaded adapters among them."""
        return [model['id'] for model in self.call('/v1/models')['data']]

    def set_faults(self, **faults):
        self.call('/faults', faults)

    def adapters(self):
        """As a configuration lists them; llama.cpp numbers them, the others know names or folders."""
        if self.kind == 'llama_cpp':
            return [{'name': pathlib.Path(a['path']).stem, 'id': a['id']} for a in self.call('/lora-adapters')]
        folders = sorted((self.files / 'adapters').iterdir())
        return [{'name': f.name, 'path': str(f)} for f in folders]

    def config(self, paid=False, **changes):
        """A whole configuration; changes replace its top-level parts, or add to those that are objects."""
        config = {
            'name': 'toy',
            'server': {'api': self.kind, 'url': self.url, 'model': 'toy', 'alternatives': 48},
            'provider': {'state': str(self.files / 'state'), 'concurrency': 8},
            'sampling': {'max_tokens': 2},
            'merge': {'adapters': self.adapters(), 'alpha': self.kind in ('vllm', 'sglang'),
                      'folder': str(self.files / 'merged')},
            'tasks': [{'name': 'qa', **{split: str(self.files / f'{split}.jsonl') for split in SPLITS}}],
            'objectives': [{'name': 'loss', 'scorer': 'gold_nll'},
                           {'name': 'accuracy', 'scorer': 'exact_match', 'normalise': ['space']}],
        }
        if self.kind == 'openai':
            del config['merge'], config['objectives'][0]
            config['genes'] = {'temperature': {'low': 0, 'high': 1},
                               'system': {'plain': '', 'expert': 'You are an expert.'},
                               'shots': {'none': [], 'two': [{'prompt': 'w03 ->', 'answer': ' w04'},
                                                             {'prompt': 'w05 ->', 'answer': ' w06'}]}}
        if self.kind == 'loss_oracle':
            del config['tasks'], config['objectives']
            config['merge']['alpha'] = True
            config['server']['sessions'] = {s: {'preset_id': 'toy', 'query_plus': {'dataset': s}} for s in SPLITS}
        if paid:
            config['provider'].update(prices=PRICES, caps={'day': '5.00'})
        for name, value in changes.items():
            if isinstance(value, dict) and name in config:
                config[name] = {**config[name], **value}
            else:
                config[name] = value
        return config


class Evaluator:
    """The program, spoken to as the daemon does."""

    def __init__(self, config, folder, environment=None):
        self.path = pathlib.Path(folder) / 'evaluator.json'
        self.path.write_text(json.dumps(config))
        self.errors = open(pathlib.Path(folder) / 'evaluator.err', 'a+b')
        self.process = subprocess.Popen([EVALUATOR, str(self.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True,
                                        env={**os.environ, **(environment or {})})
        line = self.process.stdout.readline()
        self.hello = json.loads(line) if line else None
        self.lines = [line]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stdin.close()
        self.errors.close()

    def send(self, message):
        self.process.stdin.write(json.dumps(message) + '\n')
        self.process.stdin.flush()

    def ask(self, trial, candidate, replicate=0, fidelity=0, job='job'):
        self.send({'type': 'evaluate', 'id': f'{job}:{trial}:1', 'candidate': candidate, 'replicate': replicate,
                   'fidelity': fidelity, 'seed': 1, 'params': {}})
        return f'{job}:{trial}:1'

    def read(self):
        line = self.process.stdout.readline()
        self.lines.append(line)
        return json.loads(line) if line else None

    def answers(self, count):
        """The next `count` results or errors, by id; progress reports are kept."""
        self.progress, found = [], {}
        while len(found) < count:
            message = self.read()
            assert message is not None, self.stderr()
            if message['type'] == 'progress':
                self.progress.append(message)
            else:
                found[message['id']] = message
        return found

    def evaluate(self, trial, candidate, **options):
        return next(iter((self.ask(trial, candidate, **options) and self.answers(1)).values()))

    def stderr(self):
        self.errors.flush()
        self.errors.seek(0)
        return self.errors.read().decode()

    def end(self):
        """Its input ends; the exit status."""
        self.process.stdin.close()
        self.process.stdin = open(os.devnull, 'w')
        return self.process.wait(timeout=120)


def ledger(state):
    """The records of a provider's ledger, torn ones left out."""
    records = []
    path = pathlib.Path(state) / 'ledger.jsonl'
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line[17:]))
        except json.JSONDecodeError:
            continue
    return records


def totals(state):
    """What the ledger says: answers, unknown outcomes, and their money."""
    out = {'answers': 0, 'unknown': 0, 'answers_micros': 0, 'unknown_micros': 0, 'keys': set(), 'unknown_keys': set()}
    for record in ledger(state):
        if record['e'] == 'answer':
            out['answers'] += 1
            out['answers_micros'] += record['m']
            out['keys'].add(record['k'])
        elif record['e'] == 'unknown':
            out['unknown'] += 1
            out['unknown_micros'] += record['m']
            out['unknown_keys'].add(record['k'])
    return out
