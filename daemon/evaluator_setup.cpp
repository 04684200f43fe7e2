#include "daemon/evaluator_setup.hpp"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "evaluators/registry.hpp"

namespace paretod {

EvaluatorEnvironment evaluator_environment(const DaemonConfig& config) {
  EvaluatorEnvironment environment;
  environment.base_directory = config.base_directory;
  environment.threads = config.evaluation_threads > 0 ? config.evaluation_threads
                                                      : std::thread::hardware_concurrency();
  environment.threads = std::max<std::size_t>(environment.threads, 1);
  return environment;
}

Result<std::unique_ptr<Evaluator>> make_evaluator(const std::string& name,
                                                  const EvaluatorConfig& block,
                                                  const EvaluatorEnvironment& environment) {
  const std::string at = "/evaluators/" + name;
  const std::vector<EvaluatorType> types = evaluator_types();
  const auto type = std::find_if(types.begin(), types.end(), [&](const EvaluatorType& candidate) {
    return candidate.name == block.type;
  });
  Problems problems;
  ErrorKind kind = ErrorKind::invalid;
  if (type == types.end()) {
    std::string known;
    for (const EvaluatorType& each : types) known += (known.empty() ? "" : ", ") + each.name;
    problems.push_back({at + "/type", "no such type of evaluator; known: " + known});
  } else {
    auto made = type->create(block.fields, environment);
    if (made) return made;
    if (made.error().kind == ErrorKind::unavailable) kind = ErrorKind::unavailable;
    for (const Problem& problem : made.error().problems) {
      problems.push_back({at + problem.pointer, problem.message});
    }
    if (problems.empty()) problems.push_back({at, made.error().message});
  }
  return Error{kind, "the evaluator \"" + name + "\" cannot be set up", std::move(problems)};
}

}  // namespace paretod
