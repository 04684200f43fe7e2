#include "optimizers/merge_genes.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>
#include <utility>

namespace paretod {
namespace {

constexpr std::string_view alpha_prefix = "alpha.", beta_prefix = "beta.";
/// Differences below this are none.
constexpr double resolution = 1e-6;

}  // namespace

Problems MergeGenes::check(const SearchSpace& space) {
  Problems problems;
  const std::vector<Parameter>& parameters = space.parameters();
  std::map<std::string_view, bool> weighted;
  for (const Parameter& parameter : parameters) {
    const std::string_view name = parameter.name;
    if (name.starts_with(beta_prefix)) weighted[name.substr(beta_prefix.size())] = true;
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    const std::string at = "/space/" + std::to_string(i);
    const std::string_view name = p.name;
    const bool alpha = name.starts_with(alpha_prefix);
    if (!alpha && !name.starts_with(beta_prefix)) {
      problems.push_back({at + "/name",
                          "evo_merging searches \"alpha.NAME\" and \"beta.NAME\" of adapters only; "
                          "fix everything else in the evaluator's configuration"});
    } else if (p.type != ParameterType::real || p.log_scale || p.when) {
      problems.push_back({at, "has to be a plain real parameter, without conditions"});
    } else if (alpha && !weighted.contains(name.substr(alpha_prefix.size()))) {
      problems.push_back({at, "there is no \"beta." + p.name.substr(alpha_prefix.size()) + "\""});
    } else if (alpha ? p.low < 0 || p.high > 1 : p.low > 0 || p.high <= 0) {
      problems.push_back(
          {at, alpha ? "has to lie within [0, 1]" : "the bounds have to contain 0 and more"});
    } else if (alpha && p.low >= p.high) {
      problems.push_back({at, "needs room between its bounds; leave it out to keep everything"});
    }
  }
  if (weighted.empty()) {
    problems.push_back({"/space",
                        "there is no adapter: evo_merging needs real parameters "
                        "\"beta.NAME\", and \"alpha.NAME\" where A can be pruned"});
  }
  return problems;
}

MergeGenes::MergeGenes(const SearchSpace& space, bool mirrored, std::vector<double> ladder)
    : space_(space), mirrored_(mirrored), ladder_(std::move(ladder)) {
  std::sort(ladder_.begin(), ladder_.end());
  const std::vector<Parameter>& parameters = space.parameters();
  std::map<std::string_view, std::size_t> alphas;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string_view name = parameters[i].name;
    if (name.starts_with(alpha_prefix)) {
      alphas[name.substr(alpha_prefix.size())] = space.offset(i);
    }
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string_view name = parameters[i].name;
    if (!name.starts_with(beta_prefix)) continue;
    Adapter adapter{std::string(name.substr(beta_prefix.size())), std::nullopt, space.offset(i)};
    if (const auto alpha = alphas.find(adapter.name); alpha != alphas.end()) {
      adapter.alpha = alpha->second;
    }
    // A mirror image has to be in the space.
    mirrored_ = mirrored_ && parameters[i].low == -parameters[i].high;
    adapters_.push_back(std::move(adapter));
  }
}

std::vector<std::size_t> MergeGenes::alphas() const {
  std::vector<std::size_t> all;
  for (const Adapter& adapter : adapters_) {
    if (adapter.alpha) all.push_back(*adapter.alpha);
  }
  return all;
}

std::vector<std::size_t> MergeGenes::betas() const {
  std::vector<std::size_t> all;
  for (const Adapter& adapter : adapters_) all.push_back(adapter.beta);
  return all;
}

Point MergeGenes::uniform(double keep, double weight) const {
  Point point(space_.dimension(), weight);
  for (const std::size_t alpha : alphas()) point[alpha] = keep;
  return space_.repair(std::move(point));
}

Point MergeGenes::weighted(const std::vector<double>& weights) const {
  Point point = uniform(1, 0);
  for (std::size_t i = 0; i < adapters_.size(); ++i) point[adapters_[i].beta] = weights[i];
  return space_.repair(std::move(point));
}

Point MergeGenes::canonical(Point point) const {
  if (!mirrored_) return point;
  double sum = 0, first = 0;
  for (const Adapter& adapter : adapters_) {
    sum += point[adapter.beta];
    if (first == 0) first = point[adapter.beta];
  }
  if (sum > 0 || (sum == 0 && first >= 0)) return point;
  for (const Adapter& adapter : adapters_) {
    double& beta = point[adapter.beta];
    if (beta != 0) beta = -beta;
  }
  return point;
}

MergeGenes::Key MergeGenes::key(const Point& point) const {
  const Point same = canonical(point);
  Key key;
  key.reserve(2 * adapters_.size());
  for (const Adapter& adapter : adapters_) {
    const std::int64_t beta = std::llround(same[adapter.beta] / resolution);
    std::int64_t alpha = 0;
    if (adapter.alpha && beta != 0) {
      const double value = same[*adapter.alpha];
      if (ladder_.empty()) {
        alpha = std::llround(value / resolution);
      } else {
        const auto nearest = std::min_element(
            ladder_.begin(), ladder_.end(),
            [&](double a, double b) { return std::abs(a - value) < std::abs(b - value); });
        alpha = nearest - ladder_.begin();
      }
    }
    key.push_back(beta);
    key.push_back(alpha);
  }
  return key;
}

double MergeGenes::mean_alpha(const Point& point) const {
  double sum = 0;
  for (const Adapter& adapter : adapters_) sum += adapter.alpha ? point[*adapter.alpha] : 1;
  return sum / static_cast<double>(adapters_.size());
}

double MergeGenes::mean_beta(const Point& point) const {
  double sum = 0;
  for (const Adapter& adapter : adapters_) sum += std::abs(point[adapter.beta]);
  return sum / static_cast<double>(adapters_.size());
}

}  // namespace paretod
