#!/usr/bin/env python3
"""Every JSON job in docs/, submitted to a running daemon as it stands."""
import json
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from daemon import ROOT, Daemon  # noqa: E402


def examples():
    """(where, section, job) of every ```json block that is a job."""
    found = []
    for page in sorted((ROOT / 'docs').glob('*.md')):
        section = ''
        for match in re.finditer(r'^## ([^\n]*)$|^```json\n(.*?)^```$', page.read_text(), re.M | re.S):
            if match.group(1):
                section = match.group(1).strip('`')
                continue
            job = json.loads(match.group(2))
            if 'optimizer' in job:
                found.append((f'{page.name}, {section}', section, job))
    return found


def optimizer_of(job):
    return job['optimizer'] if isinstance(job['optimizer'], str) else job['optimizer']['name']


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon().start()
        cls.known = {entry['name'] for entry in cls.daemon.get('/v1/optimizers')['optimizers']}

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__()

    def test_examples_name_optimizers_that_exist(self):
        self.assertGreater(len(examples()), 3)
        self.assertEqual({optimizer_of(job) for _, _, job in examples()} - self.known, set())

    def test_every_optimizer_has_a_section_with_an_example(self):
        shown = {section for _, section, job in examples() if section == optimizer_of(job)}
        self.assertEqual(self.known - shown, set())

    def test_examples_run(self):
        for where, _, job in examples():
            if optimizer_of(job) not in self.known:
                continue  # the first test says so
            with self.subTest(where):
                status, body, _ = self.daemon.request('POST', '/v1/jobs', job)
                self.assertEqual(status, 201, body)
                done = self.daemon.wait_finished(body['id'])
                self.assertEqual(done['status'], 'succeeded', done)

    def test_the_table_of_pagmo_lists_its_algorithms(self):
        listed = set(re.findall(r'`(\w+)`', ''.join(re.findall(
            r'^\| (`[^|]*)\| (?:\d|any)', (ROOT / 'docs/optimizers.md').read_text(), re.M))))
        pagmo = next(entry for entry in self.daemon.get('/v1/optimizers')['optimizers']
                     if entry['name'] == 'pagmo')
        self.assertEqual(listed, set(pagmo['params_schema']['properties']['algorithm']['enum']))


if __name__ == '__main__':
    unittest.main(verbosity=2)
