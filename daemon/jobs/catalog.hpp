#pragma once
// What this daemon can run: its optimizers, and its evaluators by configured name.  Built once at
// start; read from any thread.

#include <map>
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

  /// Configured, but it did not start, and why: its jobs wait for the next start of the daemon.
  void add_absent(std::string name, std::string reason);
  /// Why there is no evaluator of that name, for people.
  [[nodiscard]] std::string why_absent(std::string_view name) const;

 private:
  std::vector<Optimizer> optimizers_;
  std::vector<NamedEvaluator> evaluators_;
  std::map<std::string, std::string, std::less<>> absent_;
};

}  // namespace paretod
