#include "daemon/jobs/catalog.hpp"

#include <algorithm>

namespace paretod {

Result<std::unique_ptr<Catalog>> Catalog::make(
    std::vector<Optimizer> optimizers,
    std::vector<std::pair<std::string, std::unique_ptr<Evaluator>>> evaluators) {
  auto catalog = std::make_unique<Catalog>();
  catalog->optimizers_ = std::move(optimizers);
  for (auto& [name, evaluator] : evaluators) {
    if (catalog->evaluator(name) != nullptr) {
      return invalid("two evaluators are called \"" + name + "\"; rename the configured one");
    }
    EvaluatorDescription description = evaluator->describe();
    catalog->evaluators_.push_back({name, std::move(evaluator), std::move(description)});
  }
  std::sort(catalog->evaluators_.begin(), catalog->evaluators_.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return catalog;
}

void Catalog::add_absent(std::string name, std::string reason) {
  absent_.emplace(std::move(name), std::move(reason));
}

std::string Catalog::why_absent(std::string_view name) const {
  if (const auto found = absent_.find(name); found != absent_.end()) {
    return "evaluator \"" + found->first + "\" did not start (" + found->second +
           "); mend that and restart paretod";
  }
  std::string known;
  for (const NamedEvaluator& each : evaluators_) known += (known.empty() ? "" : ", ") + each.name;
  return "evaluator \"" + std::string(name) + "\" is not configured here; configured: " + known;
}

const Optimizer* Catalog::optimizer(std::string_view name) const {
  const auto found = std::find_if(optimizers_.begin(), optimizers_.end(),
                                  [name](const auto& o) { return o.name == name; });
  return found == optimizers_.end() ? nullptr : &*found;
}

const Catalog::NamedEvaluator* Catalog::evaluator(std::string_view name) const {
  const auto found = std::find_if(evaluators_.begin(), evaluators_.end(),
                                  [name](const auto& e) { return e.name == name; });
  return found == evaluators_.end() ? nullptr : &*found;
}

}  // namespace paretod
