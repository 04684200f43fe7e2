#pragma once
// A shared library with the interface of paretod_evaluator.h as an evaluator: a process evaluator
// (process_evaluator.hpp) whose program is paretod-library-host.  The daemon loads nothing itself.

#include "evaluators/evaluator.hpp"

namespace paretod {

EvaluatorType library_evaluator_type();

}  // namespace paretod
