#include "evaluators/merge/merge_method.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace paretod {
namespace {

constexpr std::array<std::pair<MergeMethod, std::string_view>, 11> method_names{{
    {MergeMethod::linear, "linear"},
    {MergeMethod::slerp, "slerp"},
    {MergeMethod::task_arithmetic, "task_arithmetic"},
    {MergeMethod::ties, "ties"},
    {MergeMethod::dare_linear, "dare_linear"},
    {MergeMethod::dare_ties, "dare_ties"},
    {MergeMethod::della_linear, "della_linear"},
    {MergeMethod::della, "della"},
    {MergeMethod::breadcrumbs, "breadcrumbs"},
    {MergeMethod::breadcrumbs_ties, "breadcrumbs_ties"},
    {MergeMethod::fisher, "fisher"},
}};
constexpr std::array<std::pair<Rescale, std::string_view>, 3> rescale_names{{
    {Rescale::none, "none"},
    {Rescale::expected, "expected"},
    {Rescale::l1, "l1"},
}};

/// Below it a sum of weights cannot be divided by.
constexpr double least_sum = 1e-8;

class Checker {
 public:
  Checker(const MergeRule& rule, std::size_t sources) : rule_(rule), sources_(sources) {}

  void check(const GroupCoefficients& group, const std::string& at) {
    const MergeTraits traits = traits_of(rule_.method);
    if (rule_.method == MergeMethod::slerp) {
      if (!std::isfinite(group.t)) add(at + "/t", "has to be a finite number");
      return;
    }
    if (count(group.weights, at + "/weights")) weights(group, at);
    if (traits.sparsifier != Sparsifier::none && count(group.densities, at + "/densities")) {
      for (std::size_t k = 0; k < sources_; ++k) {
        if (!(group.densities[k] >= 0 && group.densities[k] <= 1)) {
          add(at + "/densities/" + std::to_string(k), "has to be a number from 0 to 1");
        }
      }
    }
    if (traits.uses_base && !std::isfinite(group.lambda)) {
      add(at + "/lambda", "has to be a finite number");
    }
  }
  void add(const std::string& pointer, const std::string& message) {
    problems_.push_back({pointer, message});
  }
  Problems take() { return std::move(problems_); }

 private:
  bool count(const std::vector<double>& values, const std::string& at) {
    if (values.size() == sources_) return true;
    add(at, "has to have one number for each of the " + std::to_string(sources_) +
                " sources, not " + std::to_string(values.size()));
    return false;
  }
  void weights(const GroupCoefficients& group, const std::string& at) {
    double sum = 0;
    bool finite = true;
    bool negative = false;
    for (std::size_t k = 0; k < sources_; ++k) {
      const double weight = group.weights[k];
      sum += weight;
      negative = negative || weight < 0;
      if (std::isfinite(static_cast<float>(weight))) continue;
      add(at + "/weights/" + std::to_string(k), "has to be a finite number");
      finite = false;
    }
    if (!finite) return;
    if (rule_.method == MergeMethod::fisher && (negative || sum < least_sum)) {
      add(at + "/weights",
          "the weights have to be at least 0, one of them more: they weigh importances");
    } else if (rule_.method == MergeMethod::linear && rule_.normalize &&
               std::abs(sum) < least_sum) {
      add(at + "/weights", "the weights sum to " + std::to_string(sum) +
                               ", and normalize divides by their sum; change a weight, "
                               "or set normalize to false");
    }
  }

  const MergeRule& rule_;
  const std::size_t sources_;
  Problems problems_;
};

}  // namespace

std::string_view name_of(MergeMethod method) {
  for (const auto& [known, name] : method_names) {
    if (known == method) return name;
  }
  return {};
}

std::optional<MergeMethod> merge_method(std::string_view name) {
  for (const auto& [known, known_name] : method_names) {
    if (known_name == name) return known;
  }
  return std::nullopt;
}

std::string merge_method_names() {
  std::string names;
  for (const auto& [method, name] : method_names) {
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names;
}

std::string_view name_of(Rescale rescale) {
  for (const auto& [known, name] : rescale_names) {
    if (known == rescale) return name;
  }
  return {};
}

std::optional<Rescale> rescale_named(std::string_view name) {
  for (const auto& [known, known_name] : rescale_names) {
    if (known_name == name) return known;
  }
  return std::nullopt;
}

MergeTraits traits_of(MergeMethod method) {
  using enum MergeMethod;
  MergeTraits traits;
  traits.uses_base = method != linear && method != slerp && method != fisher;
  traits.elects_sign =
      method == ties || method == dare_ties || method == della || method == breadcrumbs_ties;
  traits.normalize = method == linear || method == ties || method == della;
  traits.in_mergekit = method != fisher;
  switch (method) {
    case ties:
      traits.sparsifier = Sparsifier::magnitude;
      break;
    case dare_linear:
    case dare_ties:
      traits.sparsifier = Sparsifier::random;
      traits.rescale = Rescale::expected;
      break;
    case della_linear:
    case della:
      traits.sparsifier = Sparsifier::della;
      traits.rescale = Rescale::expected;
      break;
    case breadcrumbs:
    case breadcrumbs_ties:
      traits.sparsifier = Sparsifier::breadcrumbs;
      break;
    default:
      break;
  }
  return traits;
}

MergeRule MergeRule::of(MergeMethod method) {
  MergeRule rule;
  rule.method = method;
  rule.normalize = traits_of(method).normalize;
  rule.rescale = traits_of(method).rescale;
  return rule;
}

Problems check_candidate(const MergeRule& rule, std::size_t sources,
                         const MergeCandidate& candidate) {
  Checker checker(rule, sources);
  if (candidate.groups.size() != rule.group_count()) {
    checker.add("/groups", "has to have coefficients for each of the " +
                               std::to_string(rule.group_count()) + " groups of tensors, not " +
                               std::to_string(candidate.groups.size()));
    return checker.take();
  }
  for (std::size_t g = 0; g < candidate.groups.size(); ++g) {
    checker.check(candidate.groups[g], "/groups/" + std::to_string(g));
  }
  return checker.take();
}

}  // namespace paretod
