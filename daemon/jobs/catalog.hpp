#pragma once
// What this daemon can run: its optimizers, and its evaluators by configured name.  Built once at
// start; read from any thread.

#include <memory>
#include <string>
#include <vector>

#include "evaluators/evaluator.hpp"
#include "optimizers/core/optimizer.hpp"

namespace paretod {

class Catalog {
 public:
  struct NamedEvaluator {
    std::string name;
    std::unique_ptr<Evaluator> evaluator;
    EvaluatorDescription description;
  };

  /// Fails when two evaluators share a name.
  static Result<std::unique_ptr<Catalog>> make(
      std::vector<Optimizer> optimizers,
      std::vector<std::pair<std::string, std::unique_ptr<Evaluator>>> evaluators);

  [[nodiscard]] const std::vector<Optimizer>& optimizers() const { return optimizers_; }
  /// Null when there is none of that name.
  [[nodiscard]] const Optimizer* optimizer(std::string_view name) const;
  [[nodiscard]] const std::vector<NamedEvaluator>& evaluators() const { return evaluators_; }
  [[nodiscard]] const NamedEvaluator* evaluator(std::string_view name) const;

 private:
  std::vector<Optimizer> optimizers_;
  std::vector<NamedEvaluator> evaluators_;
};

}  // namespace paretod
