#include "optimizers/core/space.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

namespace paretod {
namespace {

/// The parameter that the condition is about, if the condition can ever hold.
std::optional<std::size_t> check_condition(const std::vector<Parameter>& parameters, std::size_t i,
                                           const std::map<std::string, std::size_t>& earlier,
                                           const std::string& at, Problems& problems) {
  const Condition& condition = *parameters[i].when;
  const auto found = earlier.find(condition.parameter);
  if (found == earlier.end()) {
    problems.push_back(
        {at, "no parameter before this one is called \"" + condition.parameter + "\""});
    return std::nullopt;
  }
  const std::string here = at + "/" + condition.parameter;
  const Parameter& parent = parameters[found->second];
  if (parent.type != ParameterType::categorical && parent.type != ParameterType::boolean &&
      parent.type != ParameterType::integer) {
    problems.push_back({here,
                        "a condition can be about a categorical, boolean or integer "
                        "parameter; \"" +
                            parent.name + "\" is " + std::string(name_of(parent.type))});
    return std::nullopt;
  }
  if (condition.values.empty()) problems.push_back({here, "needs at least one value"});
  const Coordinate range = coordinates_of(parent).front();
  for (std::size_t v = 0; v < condition.values.size(); ++v) {
    const double value = condition.values[v];
    if (value >= range.low && value <= range.high && value == std::trunc(value)) continue;
    problems.push_back({here + "/" + std::to_string(v),
                        "can never hold: \"" + parent.name + "\" never has this value"});
  }
  return found->second;
}

}  // namespace

std::uint64_t hash_of(const Point& point, std::uint64_t seed) {
  std::uint64_t hash = mix64(seed, point.size());
  for (const double x : point) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &x, sizeof bits);
    hash = mix64(hash, bits);
  }
  return hash;
}

Result<SearchSpace> SearchSpace::make(std::vector<Parameter> parameters,
                                      const std::string& pointer) {
  Problems problems;
  if (parameters.empty()) problems.push_back({pointer, "needs at least one parameter"});
  std::map<std::string, std::size_t> names;
  std::vector<std::optional<std::size_t>> parents(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string at = pointer + "/" + std::to_string(i);
    const std::size_t before = problems.size();
    check_parameter(parameters[i], at, problems);
    if (parameters[i].when) {
      parents[i] = check_condition(parameters, i, names, at + "/when", problems);
    }
    if (names.contains(parameters[i].name)) {
      problems.push_back(
          {at + "/name", "another parameter is already called \"" + parameters[i].name + "\""});
    }
    // What is not valid cannot be the subject of a condition.
    if (problems.size() == before) names.emplace(parameters[i].name, i);
  }
  if (!problems.empty()) return invalid("the search space is not valid", std::move(problems));

  SearchSpace space;
  for (const Parameter& parameter : parameters) {
    const auto coordinates = coordinates_of(parameter);
    space.offsets_.push_back(space.coordinates_.size());
    space.widths_.push_back(coordinates.size());
    std::vector<double> resting(coordinates.size(), std::numeric_limits<double>::quiet_NaN());
    repair_block(parameter, coordinates, resting);
    space.resting_.insert(space.resting_.end(), resting.begin(), resting.end());
    space.coordinates_.insert(space.coordinates_.end(), coordinates.begin(), coordinates.end());
    space.has_conditions_ = space.has_conditions_ || parameter.when.has_value();
  }
  space.parents_ = std::move(parents);
  space.parameters_ = std::move(parameters);
  return space;
}

bool SearchSpace::active(std::size_t parameter, const Point& point) const {
  for (auto child = parameter; parents_[child]; child = *parents_[child]) {
    const auto& values = parameters_[child].when->values;
    const double value = point[offsets_[*parents_[child]]];
    if (std::find(values.begin(), values.end(), value) == values.end()) return false;
  }
  return true;
}

Problems SearchSpace::validate(const Point& point, const std::string& pointer) const {
  if (point.size() != dimension()) {
    return {{pointer, "has " + std::to_string(point.size()) + " coordinates, the space has " +
                          std::to_string(dimension())}};
  }
  Problems problems;
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    const auto block = std::span(point).subspan(offsets_[p], widths_[p]);
    std::string problem;
    if (active(p, point)) {
      problem = block_problem(parameters_[p], coordinates_at(p), block);
    } else if (!std::equal(block.begin(), block.end(), resting_.begin() + offsets_[p])) {
      problem = "is not active, so it must rest";
    }
    if (!problem.empty()) {
      problems.push_back({pointer + "/" + parameters_[p].name, std::move(problem)});
    }
  }
  return problems;
}

Point SearchSpace::repair(Point point) const {
  point.resize(dimension(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    const auto block = std::span(point).subspan(offsets_[p], widths_[p]);
    if (has_conditions_ && !active(p, point)) {
      std::copy_n(resting_.begin() + offsets_[p], widths_[p], block.begin());
    } else {
      repair_block(parameters_[p], coordinates_at(p), block);
    }
  }
  return point;
}

Point SearchSpace::sample(Rng& rng) const {
  Point point(dimension());
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    // Drawn although it may not be active: the draws of the others do not depend on it.
    sample_block(parameters_[p], coordinates_at(p),
                 std::span(point).subspan(offsets_[p], widths_[p]), rng);
  }
  return has_conditions_ ? repair(std::move(point)) : point;
}

Point SearchSpace::from_unit(std::span<const double> unit) const {
  Point point(dimension());
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    const bool simplex = parameters_[p].type == ParameterType::simplex;
    double sum = 0;
    for (std::size_t i = offsets_[p]; i < offsets_[p] + widths_[p]; ++i) {
      const Coordinate& c = coordinates_[i];
      const double u = unit[i];
      if (simplex) {
        sum += point[i] = -std::log1p(-u);  // normalised exponentials are uniform
      } else if (c.whole) {
        point[i] = c.sampling_low + std::floor(u * (c.sampling_high - c.sampling_low + 1));
      } else if (c.log_scale) {
        point[i] = std::exp(std::log(c.sampling_low) +
                            u * (std::log(c.sampling_high) - std::log(c.sampling_low)));
      } else {
        point[i] = c.sampling_low + u * (c.sampling_high - c.sampling_low);
      }
    }
    for (std::size_t i = 0; simplex && sum > 0 && i < widths_[p]; ++i)
      point[offsets_[p] + i] /= sum;
  }
  return repair(std::move(point));
}

std::vector<double> SearchSpace::coefficients(std::size_t parameter, const Point& point) const {
  const std::size_t reference = parameters_[parameter].reference();
  const double* free = point.data() + offsets_[parameter];
  std::vector<double> coefficients(parameters_[parameter].size);
  double sum = 0;
  for (std::size_t k = 0; k < coefficients.size(); ++k) {
    if (k == reference) continue;
    coefficients[k] = *free++;
    sum += coefficients[k];
  }
  coefficients[reference] = 1 - sum;
  return coefficients;
}

void SearchSpace::set_coefficients(std::size_t parameter, const std::vector<double>& coefficients,
                                   Point& point) const {
  const std::size_t reference = parameters_[parameter].reference();
  double* free = point.data() + offsets_[parameter];
  for (std::size_t k = 0; k < coefficients.size(); ++k) {
    if (k != reference) *free++ = coefficients[k];
  }
}

}  // namespace paretod
