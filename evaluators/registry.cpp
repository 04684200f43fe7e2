#include "evaluators/registry.hpp"

#include "evaluators/builtin/problems.hpp"
#include "evaluators/diffusion/diffusion_evaluator.hpp"
#include "evaluators/diffusion/schedule_evaluator.hpp"
#include "evaluators/http/http_evaluator.hpp"
#include "evaluators/library/library_evaluator.hpp"
#include "evaluators/merge/merge_evaluator.hpp"
#include "evaluators/process/process_evaluator.hpp"
#include "evaluators/workers/workers_evaluator.hpp"

namespace paretod {

std::vector<EvaluatorType> evaluator_types() {
  return {
      diffusion_evaluator_type(), schedule_evaluator_type(), http_evaluator_type(),
      library_evaluator_type(),   merge_evaluator_type(),    process_evaluator_type(),
      workers_evaluator_type(),
  };
}

std::vector<std::pair<std::string, std::unique_ptr<Evaluator>>> builtin_evaluators(
    const EvaluatorEnvironment& environment) {
  std::vector<std::pair<std::string, std::unique_ptr<Evaluator>>> evaluators;
  for (TestProblem& problem : builtin_problems()) {
    problem.description.slots = environment.threads;
    std::string name = problem.name;
    evaluators.emplace_back(
        std::move(name), std::make_unique<TestEvaluator>(std::move(problem), environment.threads));
  }
  evaluators.emplace_back("external", external_evaluator());
  return evaluators;
}

}  // namespace paretod
