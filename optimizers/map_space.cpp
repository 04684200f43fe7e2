#include "optimizers/map_space.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace paretod {
namespace {

double encoded(double value, bool log_scale) {
  return log_scale ? std::log(value) : value;
}

}  // namespace

Problems MapSpace::check(const SearchSpace& space) {
  Problems problems;
  const std::vector<Parameter>& parameters = space.parameters();
  if (space.dimension() < 2 || space.dimension() > most_dimensions) {
    problems.push_back({"/space", "map fits quadratics in 2 to " + std::to_string(most_dimensions) +
                                      " coefficients; there are " +
                                      std::to_string(space.dimension()) +
                                      "; use \"nsga2\" or \"cmaes\""});
  }
  const bool simplex = parameters.size() == 1 && parameters[0].type == ParameterType::simplex;
  for (std::size_t i = 0; i < parameters.size() && !simplex; ++i) {
    const std::string at = "/space/" + std::to_string(i);
    if (parameters[i].type != ParameterType::real) {
      problems.push_back({at + "/type",
                          "map needs real parameters, or one simplex parameter and nothing else; "
                          "this one is " +
                              std::string(name_of(parameters[i].type)) + "; use \"nsga2\""});
    } else if (!std::isfinite(parameters[i].low) || !std::isfinite(parameters[i].high) ||
               !(parameters[i].low < parameters[i].high)) {
      problems.push_back({at, "map samples and searches a box: give finite bounds, low < high"});
    }
    if (parameters[i].when) {
      problems.push_back(
          {at + "/when", "map fits all parameters at once: none can be conditional"});
    }
  }
  return problems;
}

MapSpace::MapSpace(const SearchSpace& space)
    : space_(space), simplex_(space.parameters().front().type == ParameterType::simplex) {}

std::vector<double> MapSpace::scaled(const Point& point) const {
  std::vector<double> x = point;
  for (std::size_t i = 0; i < x.size() && !simplex_; ++i) {
    const Coordinate& c = space_.coordinates()[i];
    const double low = encoded(c.low, c.log_scale);
    x[i] = 2 * (encoded(x[i], c.log_scale) - low) / (encoded(c.high, c.log_scale) - low) - 1;
  }
  return x;
}

Point MapSpace::point(std::span<const double> x) const {
  Point point(x.begin(), x.end());
  for (std::size_t i = 0; i < point.size() && !simplex_; ++i) {
    const Coordinate& c = space_.coordinates()[i];
    const double low = encoded(c.low, c.log_scale), high = encoded(c.high, c.log_scale);
    const double value = low + (high - low) * (x[i] + 1) / 2;
    point[i] = c.log_scale ? std::exp(value) : value;
  }
  return space_.repair(std::move(point));
}

std::vector<double> MapSpace::from_unit(std::span<const double> unit) const {
  if (simplex_) return space_.from_unit(unit);
  std::vector<double> x;
  for (const double u : unit) x.push_back(2 * u - 1);
  return x;
}

std::vector<std::vector<double>> MapSpace::anchors() const {
  std::vector<std::vector<double>> anchors;
  const std::size_t n = dimension();
  for (std::size_t i = simplex_ ? 1 : 0; i <= n; ++i) {
    Point point(n, 0.0);
    if (i > 0) point[i - 1] = 1;
    if (space_.validate(point).empty()) anchors.push_back(scaled(point));
  }
  return anchors;
}

}  // namespace paretod
