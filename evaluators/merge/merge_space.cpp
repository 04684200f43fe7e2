#include "evaluators/merge/merge_space.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "optimizers/core/rng.hpp"

namespace paretod {
void MergeSpace::add(What what, const std::string& name, std::size_t group, double low,
                     double high) {
  Parameter parameter;
  parameter.low = low;
  parameter.high = high;
  parameter.name = name;
  if (what == What::lambda || what == What::t) {
    parameters_.push_back(parameter);
    targets_.push_back({what, group, 0});
    return;
  }
  for (std::size_t k = 0; k < recipe_.paths.sources.size(); ++k) {
    parameter.name = name + "." + recipe_.paths.sources[k].name;
    parameters_.push_back(parameter);
    targets_.push_back({what, group, k});
  }
}

Result<MergeSpace> MergeSpace::make(MergeRecipe recipe, const MergeSources& sources,
                                    const MergeSearchSpec& search) {
  MergeSpace space;
  space.recipe_ = std::move(recipe);
  const MergeRule& rule = space.recipe_.rule;
  const MergeTraits traits = traits_of(rule.method);
  const std::string method(name_of(rule.method));
  std::vector<bool> used(rule.group_count(), false);
  for (const MergedTensor& tensor : sources.tensors()) {
    if (!tensor.copied) used[tensor.group] = true;
  }
  Problems problems;
  if (search.search.empty()) {
    problems.push_back({"/search", "has to name what is searched: weight, density, lambda or t"});
  }
  for (const auto& [low, high, name] :
       {std::tuple{search.weight_low, search.weight_high, "weight"},
        std::tuple{search.density_low, search.density_high, "density"},
        std::tuple{search.lambda_low, search.lambda_high, "lambda"}}) {
    if (!(low < high)) {
      problems.push_back(
          {"/" + std::string(name) + "_low", "has to be less than " + std::string(name) + "_high"});
    }
  }
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < search.search.size(); ++i) {
    const std::string& name = search.search[i];
    const std::string at = "/search/" + std::to_string(i);
    const bool repeated = std::find(seen.begin(), seen.end(), name) != seen.end();
    seen.push_back(name);
    What what = What::weight;
    bool meant = rule.method != MergeMethod::slerp;
    double low = search.weight_low;
    double high = search.weight_high;
    if (name == "density") {
      what = What::density;
      meant = traits.sparsifier != Sparsifier::none;
      low = search.density_low;
      high = search.density_high;
    } else if (name == "lambda") {
      what = What::lambda;
      meant = traits.uses_base;
      low = search.lambda_low;
      high = search.lambda_high;
    } else if (name == "t") {
      what = What::t;
      meant = rule.method == MergeMethod::slerp;
      low = 0;
      high = 1;
    } else if (name != "weight") {
      problems.push_back({at, "has to be weight, density, lambda or t"});
      continue;
    }
    if (!meant || repeated) {
      problems.push_back({at, repeated ? "is there twice"
                                       : "means nothing to the method " + method +
                                             (what == What::weight ? "; search t" : "")});
      continue;
    }
    for (std::size_t g = 0; g < rule.group_count(); ++g) {
      if (!used[g]) continue;
      std::string label = name;
      if (!rule.groups.empty()) {
        label += "." + (g < rule.groups.size() ? rule.groups[g].name : std::string("other"));
      }
      if (what != What::weight || search.coefficients == "free") {
        space.add(what, label, g, low, high);
        continue;
      }
      Parameter parameter;
      parameter.name = label;
      parameter.size = space.recipe_.paths.sources.size();
      if (parameter.size < 2) {
        problems.push_back({"/coefficients", "that sum to one need two sources or more"});
        break;
      }
      const bool affine = search.coefficients == "affine";
      parameter.type = affine ? ParameterType::affine : ParameterType::simplex;
      parameter.low = affine ? -std::numeric_limits<double>::infinity() : 0;
      parameter.high = affine ? std::numeric_limits<double>::infinity() : 1;
      for (const MergePaths::Source& source : space.recipe_.paths.sources) {
        parameter.labels.push_back(source.name);
      }
      space.parameters_.push_back(std::move(parameter));
      space.targets_.push_back({what, g, 0});
    }
  }
  if (problems.empty()) {
    const auto made = SearchSpace::make(space.parameters_, "/search");
    if (!made) problems = made.error().problems;
  }
  if (!problems.empty()) return invalid("what is to be searched is not valid", problems);
  return space;
}

MergeCandidate MergeSpace::numbers(const SearchSpace& space, const Candidate& candidate) const {
  MergeCandidate numbers = recipe_.numbers;
  if (candidate.replicate > 0) numbers.seed = mix64(numbers.seed, candidate.replicate);
  for (std::size_t i = 0; i < space.parameters().size(); ++i) {
    const Parameter& parameter = space.parameters()[i];
    const auto found =
        std::find_if(parameters_.begin(), parameters_.end(),
                     [&](const Parameter& own) { return own.name == parameter.name; });
    if (found == parameters_.end()) continue;
    const Target& target = targets_[static_cast<std::size_t>(found - parameters_.begin())];
    GroupCoefficients& group = numbers.groups[target.group];
    const double value = candidate.point[space.offset(i)];
    switch (target.what) {
      case What::lambda:
        group.lambda = value;
        break;
      case What::t:
        group.t = value;
        break;
      case What::density:
        group.densities[target.source] = value;
        break;
      case What::weight:
        if (parameter.type == ParameterType::affine) {
          group.weights = space.coefficients(i, candidate.point);
        } else if (parameter.type == ParameterType::simplex) {
          const auto first = candidate.point.begin() + static_cast<long>(space.offset(i));
          group.weights.assign(first, first + static_cast<long>(parameter.size));
        } else {
          group.weights[target.source] = value;
        }
        break;
    }
  }
  return numbers;
}

MergeRecipe MergeSpace::recipe_of(const SearchSpace& space, const Candidate& candidate) const {
  MergeRecipe recipe = recipe_;
  recipe.numbers = numbers(space, candidate);
  return recipe;
}

}  // namespace paretod
