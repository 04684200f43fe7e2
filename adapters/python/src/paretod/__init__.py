"""Evaluators for the paretod search daemon, and a client of it.  Standard library only."""
from .client import Asked, Client, Event, Job
from .errors import FieldProblem, ParetodError, Refused, Unavailable
from .evaluator import Cancelled, Evaluator, Infeasible, Transient, Trial, evaluator
from .front import Front, Point, PredictedFront, PredictedPoint, Prediction
from .messages import Cost, Measured, Result
from .space import (affine, boolean, categorical, integer, permutation, real, schedule, simplex,
                    subset)
from .weights import Weights, merged

__all__ = ["Asked", "Cancelled", "Client", "Cost", "Evaluator", "Event", "FieldProblem", "Front",
           "Infeasible", "Job", "Measured", "ParetodError", "Point", "PredictedFront",
           "PredictedPoint", "Prediction", "Refused", "Result", "Transient", "Trial",
           "Unavailable", "Weights", "affine", "boolean", "categorical", "evaluator",
           "integer", "merged", "permutation", "real", "schedule", "simplex", "subset"]
