"""The Python twin of trivial.cpp: the least that an evaluator made with the package can do."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / 'adapters/python/src'))
import paretod  # noqa: E402


@paretod.evaluator(objectives={'f': 'min'}, space={'x': paretod.real(0, 1)}, slots=64)
def trivial(_):
    return 0


trivial.run()
