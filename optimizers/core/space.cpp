#include "optimizers/core/space.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>
#include <set>

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// Largest magnitude at which every whole number is a double.
constexpr double exact_whole = 9007199254740992.0;

constexpr std::size_t most_coefficients = 100'000;

constexpr std::array<std::pair<ParameterType, std::string_view>, 5> type_names{{
    {ParameterType::real, "real"},
    {ParameterType::integer, "integer"},
    {ParameterType::categorical, "categorical"},
    {ParameterType::boolean, "boolean"},
    {ParameterType::affine, "affine"},
}};

bool valid_name(const std::string& name) {
  return !name.empty() && name.size() <= 64 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
         });
}

void check_bounds(const Parameter& parameter, const std::string& at, Problems& problems) {
  if (!std::isfinite(parameter.low)) problems.push_back({at + "/low", "must be a finite number"});
  if (!std::isfinite(parameter.high)) problems.push_back({at + "/high", "must be a finite number"});
  if (parameter.low > parameter.high) {
    problems.push_back({at + "/low", "must not be greater than high"});
  }
}

void check_choices(const Parameter& parameter, const std::string& at, Problems& problems) {
  if (parameter.choices.empty()) problems.push_back({at + "/choices", "needs at least one choice"});
  std::set<std::string> seen;
  for (std::size_t i = 0; i < parameter.choices.size(); ++i) {
    if (!seen.insert(parameter.choices[i]).second) {
      problems.push_back({at + "/choices/" + std::to_string(i), "is listed twice"});
    }
  }
}

void check_affine(const Parameter& parameter, const std::string& at, Problems& problems) {
  if (parameter.size < 2) {
    problems.push_back({at + "/size",
                        "an affine combination needs at least 2 coefficients; with one the only "
                        "combination is that checkpoint itself"});
    return;
  }
  if (parameter.size > most_coefficients) {
    problems.push_back({at + "/size", "must be at most " + std::to_string(most_coefficients)});
    return;
  }
  if (!parameter.labels.empty() && parameter.labels.size() != parameter.size) {
    problems.push_back({at + "/labels", "needs one label per coefficient"});
  }
  if (!parameter.positions.empty() && parameter.positions.size() != parameter.size) {
    problems.push_back({at + "/positions", "needs one entry per coefficient (null is allowed)"});
  }
  double newest = -infinity;
  for (std::size_t i = 0; i < parameter.positions.size(); ++i) {
    const auto& position = parameter.positions[i];
    if (!position) continue;
    if (!std::isfinite(*position) || *position <= newest) {
      problems.push_back({at + "/positions/" + std::to_string(i),
                          "positions must be finite and increase from column to column"});
    }
    newest = *position;
  }
  if (!(parameter.low < parameter.high)) {
    problems.push_back({at + "/low", "must be less than high"});
  }
}

void check_parameter(const Parameter& parameter, const std::string& at, Problems& problems) {
  if (!valid_name(parameter.name)) {
    problems.push_back({at + "/name", "must be 1 to 64 letters, digits, '_', '-' or '.'"});
  }
  switch (parameter.type) {
    case ParameterType::real:
      check_bounds(parameter, at, problems);
      if (parameter.log_scale && !(parameter.low > 0)) {
        problems.push_back({at + "/low", "must be greater than 0 on a log scale"});
      }
      break;
    case ParameterType::integer:
      check_bounds(parameter, at, problems);
      for (const auto& [field, bound] :
           {std::pair{"/low", parameter.low}, std::pair{"/high", parameter.high}}) {
        if (std::isfinite(bound) && (bound != std::trunc(bound) || std::abs(bound) > exact_whole)) {
          problems.push_back({at + field, "must be a whole number of at most 2^53"});
        }
      }
      break;
    case ParameterType::categorical:
      check_choices(parameter, at, problems);
      break;
    case ParameterType::boolean:
      break;
    case ParameterType::affine:
      check_affine(parameter, at, problems);
      break;
  }
}

Coordinate coordinate_of(const Parameter& parameter) {
  Coordinate c{parameter.low, parameter.high,      parameter.low, parameter.high,
               false,         parameter.log_scale, true};
  switch (parameter.type) {
    case ParameterType::real:
      break;
    case ParameterType::integer:
      c.whole = true;
      break;
    case ParameterType::categorical:
      c.low = c.sampling_low = 0;
      c.high = c.sampling_high = static_cast<double>(parameter.choices.size() - 1);
      c.whole = true;
      c.ordered = false;
      break;
    case ParameterType::boolean:
      c.low = c.sampling_low = 0;
      c.high = c.sampling_high = 1;
      c.whole = true;
      break;
    case ParameterType::affine: {
      // Coefficients live at scale 1/K (lcsc.md 2c), so that is where to look first.
      const double scale = 1.0 / static_cast<double>(parameter.size);
      c.sampling_low = std::max(parameter.low, -scale);
      c.sampling_high = std::min(parameter.high, 3 * scale);
      if (!(c.sampling_low < c.sampling_high)) {
        c.sampling_low = std::max(parameter.low, -10.0);
        c.sampling_high = std::min(parameter.high, 10.0);
      }
      break;
    }
  }
  return c;
}

}  // namespace

std::string_view name_of(ParameterType type) {
  return std::find_if(type_names.begin(), type_names.end(),
                      [type](const auto& entry) { return entry.first == type; })
      ->second;
}

std::optional<ParameterType> parameter_type(std::string_view name) {
  for (const auto& [type, type_name] : type_names) {
    if (type_name == name) return type;
  }
  return std::nullopt;
}

std::size_t Parameter::reference() const {
  for (std::size_t i = positions.size(); i > 0; --i) {
    if (positions[i - 1]) return i - 1;
  }
  return size - 1;
}

Result<SearchSpace> SearchSpace::make(std::vector<Parameter> parameters,
                                      const std::string& pointer) {
  Problems problems;
  if (parameters.empty()) problems.push_back({pointer, "needs at least one parameter"});
  std::set<std::string> names;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string at = pointer + "/" + std::to_string(i);
    check_parameter(parameters[i], at, problems);
    if (!names.insert(parameters[i].name).second) {
      problems.push_back(
          {at + "/name", "another parameter is already called \"" + parameters[i].name + "\""});
    }
  }
  if (!problems.empty()) return invalid("the search space is not valid", std::move(problems));

  SearchSpace space;
  for (const Parameter& parameter : parameters) {
    space.offsets_.push_back(space.coordinates_.size());
    space.coordinates_.insert(space.coordinates_.end(), parameter.width(),
                              coordinate_of(parameter));
  }
  space.parameters_ = std::move(parameters);
  return space;
}

Problems SearchSpace::validate(const Point& point, const std::string& pointer) const {
  if (point.size() != dimension()) {
    return {{pointer, "has " + std::to_string(point.size()) + " coordinates, the space has " +
                          std::to_string(dimension())}};
  }
  Problems problems;
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    for (std::size_t i = offsets_[p]; i < offsets_[p] + parameters_[p].width(); ++i) {
      const Coordinate& c = coordinates_[i];
      const std::string at = pointer + "/" + parameters_[p].name;
      if (!std::isfinite(point[i])) {
        problems.push_back({at, "must be finite"});
      } else if (point[i] < c.low || point[i] > c.high) {
        problems.push_back({at, "is out of bounds"});
      } else if (c.whole && point[i] != std::trunc(point[i])) {
        problems.push_back({at, "must be a whole number"});
      }
    }
  }
  return problems;
}

Point SearchSpace::repair(Point point) const {
  point.resize(dimension(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t i = 0; i < point.size(); ++i) {
    const Coordinate& c = coordinates_[i];
    double& x = point[i];
    if (std::isnan(x)) x = (c.sampling_low + c.sampling_high) / 2;
    if (c.whole) x = std::nearbyint(x);
    x = std::clamp(x, std::isfinite(c.low) ? c.low : -1e300,
                   std::isfinite(c.high) ? c.high : 1e300);
  }
  return point;
}

Point SearchSpace::sample(Rng& rng) const {
  Point point(dimension());
  for (std::size_t i = 0; i < point.size(); ++i) {
    const Coordinate& c = coordinates_[i];
    if (c.whole) {
      const auto values = static_cast<std::uint64_t>(c.sampling_high - c.sampling_low) + 1;
      point[i] = c.sampling_low + static_cast<double>(rng.below(values));
    } else if (c.log_scale) {
      point[i] =
          std::clamp(std::exp(rng.uniform(std::log(c.sampling_low), std::log(c.sampling_high))),
                     c.low, c.high);
    } else {
      point[i] = rng.uniform(c.sampling_low, c.sampling_high);
    }
  }
  return point;
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
