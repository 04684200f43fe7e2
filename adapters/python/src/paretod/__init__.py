"""Evaluators for the paretod search daemon, and a client of it.  Standard library only."""
from .evaluator import (Cancelled, Cost, Evaluator, Infeasible, Measured, Result, Transient, Trial,
                        evaluator)
from .space import (affine, boolean, categorical, integer, permutation, real, schedule, simplex,
                    subset)

__all__ = ["Cancelled", "Cost", "Evaluator", "Infeasible", "Measured", "Result", "Transient",
           "Trial", "affine", "boolean", "categorical", "evaluator", "integer", "permutation",
           "real", "schedule", "simplex", "subset"]
