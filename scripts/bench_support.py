"""Shared by scripts/bench*: the table, the JSON rows, the private environment of peers."""
import argparse
import json
import pathlib
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / 'build' / 'release'
sys.path.insert(0, str(ROOT / 'tests' / 'support'))


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--quick', action='store_true', help='smaller counts, under 5 minutes')
    parser.add_argument('--no-build', action='store_true', help='use build/release as it is')
    parser.add_argument('--json', metavar='FILE', help='also write rows of name, value, unit, target, holds')
    return parser


class Table:
    """Rows of name, value, unit and target; a missed target is reported as missed."""

    def __init__(self):
        self.rows = []

    def add(self, name, value, unit, at_least=None, at_most=None):
        target, holds = None, None
        if value is None:
            holds = None if at_least is None and at_most is None else False
        elif at_least is not None:
            target, holds = f'>= {at_least:g}', value >= at_least
        elif at_most is not None:
            target, holds = f'<= {at_most:g}', value <= at_most
        self.add_row({'name': name, 'value': value, 'unit': unit, 'target': target, 'holds': holds})

    def add_row(self, row):
        self.rows.append(row)
        name, value, unit, target, holds = (row[key] for key in ('name', 'value', 'unit', 'target', 'holds'))
        shown = 'not measured' if value is None else f'{value:,.4g}' if abs(value) < 1e4 else f'{value:,.0f}'
        verdict = {True: 'holds', False: 'MISSED', None: ''}[holds]
        print(f'{name:<58} {shown:>14} {unit:<12} {target or "":<12} {verdict}', flush=True)

    def finish(self, options):
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(self.rows, indent=1) + '\n')
        missed = [row['name'] for row in self.rows if row['holds'] is False]
        print(f'\n{len(missed)} of {sum(r["holds"] is not None for r in self.rows)} targets missed'
              + (': ' + '; '.join(missed) if missed else ''))
        return 0


def build(*targets):
    subprocess.run([str(ROOT / 'scripts' / 'build'), 'release', 'paretod', *targets],
                   check=True, stdout=subprocess.DEVNULL)


def peers(*packages):
    """A Python interpreter with the packages, in an environment of its own; None if they do not install."""
    home = ROOT / 'build' / 'peers'
    python = home / 'bin' / 'python'
    if not python.exists():
        subprocess.run([sys.executable, '-m', 'venv', str(home)], check=True)
    done = subprocess.run([str(python), '-m', 'pip', 'install', '-q', *packages], capture_output=True, text=True)
    if done.returncode != 0:
        print(f'peers do not install: {done.stderr.strip().splitlines()[-1:]}')
        return None
    return str(python)


class Kept:
    """What peers printed, by what was asked of them: it does not change with our code.  Written to
    the file, if there is one, after each answer; asked by several threads."""

    def __init__(self, file):
        self.file = file
        self.lock = threading.Lock()
        self.known = json.loads(file.read_text()) if file and file.exists() else {}

    def output(self, command, key, **options):
        """Standard output of the command, or of the one that the key stood for before; None if it failed."""
        if key not in self.known:
            done = subprocess.run(command, capture_output=True, text=True, **options)
            if done.returncode != 0:
                print(done.stderr[-300:], file=sys.stderr)
                return None
            with self.lock:
                self.known[key] = done.stdout
                if self.file:
                    self.file.write_text(json.dumps(self.known))
        return self.known[key]


def keep_peers(parser):
    parser.add_argument('--keep-peers', metavar='FILE', type=pathlib.Path,
                        help="read what the peers printed from here, and write it, while only our side changes")


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
