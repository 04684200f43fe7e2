#include "optimizers/core/parameter.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// Largest magnitude at which every whole number is a double.
constexpr double exact_whole = 9007199254740992.0;
constexpr std::size_t most_coefficients = 100'000;
constexpr std::size_t most_items = 10'000;
constexpr std::size_t most_schedule_coordinates = 100'000;
constexpr double simplex_tolerance = 1e-9;

constexpr std::array<std::pair<ParameterType, std::string_view>, 9> type_names{{
    {ParameterType::real, "real"},
    {ParameterType::integer, "integer"},
    {ParameterType::categorical, "categorical"},
    {ParameterType::boolean, "boolean"},
    {ParameterType::affine, "affine"},
    {ParameterType::simplex, "simplex"},
    {ParameterType::subset, "subset"},
    {ParameterType::permutation, "permutation"},
    {ParameterType::schedule, "schedule"},
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

void check_whole_bounds(const Parameter& parameter, const std::string& at, Problems& problems) {
  for (const auto& [field, bound] :
       {std::pair{"/low", parameter.low}, std::pair{"/high", parameter.high}}) {
    if (std::isfinite(bound) && (bound != std::trunc(bound) || std::abs(bound) > exact_whole)) {
      problems.push_back({at + field, "must be a whole number of at most 2^53"});
    }
  }
}

void check_names(const std::vector<std::string>& names, const std::string& at, Problems& problems) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!seen.insert(names[i]).second) {
      problems.push_back({at + "/" + std::to_string(i), "is listed twice"});
    }
  }
}

void check_items(const Parameter& parameter, std::size_t fewest, const std::string& at,
                 Problems& problems) {
  if (parameter.choices.size() < fewest) {
    problems.push_back(
        {at + "/choices", fewest == 1 ? "needs at least one choice" : "needs at least two items"});
  }
  if (parameter.choices.size() > most_items) {
    problems.push_back({at + "/choices", "must be at most " + std::to_string(most_items)});
  }
  check_names(parameter.choices, at + "/choices", problems);
}

void check_size(const Parameter& parameter, const std::string& at, Problems& problems) {
  if (parameter.size < 2) {
    problems.push_back(
        {at + "/size", parameter.type == ParameterType::affine
                           ? "an affine combination needs at least 2 coefficients; with one the "
                             "only combination is that checkpoint itself"
                           : "a simplex needs at least 2 shares"});
  } else if (parameter.size > most_coefficients) {
    problems.push_back({at + "/size", "must be at most " + std::to_string(most_coefficients)});
  } else if (!parameter.labels.empty() && parameter.labels.size() != parameter.size) {
    problems.push_back({at + "/labels", "needs one label per coefficient"});
  }
}

void check_affine(const Parameter& parameter, const std::string& at, Problems& problems) {
  if (parameter.size < 2 || parameter.size > most_coefficients) return;
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

void check_counts(const Parameter& parameter, std::size_t available, const char* unit,
                  const std::string& at, Problems& problems) {
  if (parameter.least > parameter.most) {
    problems.push_back({at + "/least", "must not be greater than most"});
  }
  if (parameter.most > available) {
    problems.push_back({at + "/most", "there are only " + std::to_string(available) + " " + unit});
  }
}

void check_schedule(const Parameter& parameter, const std::string& at, Problems& problems) {
  check_bounds(parameter, at, problems);
  if (parameter.whole) check_whole_bounds(parameter, at, problems);
  if (!(parameter.low < parameter.high)) {
    problems.push_back({at + "/low", "must be less than high"});
    return;
  }
  if (parameter.least < 1) problems.push_back({at + "/least", "must be at least 1"});
  const double places = parameter.whole ? parameter.high - parameter.low + 1 : infinity;
  check_counts(parameter,
               static_cast<std::size_t>(std::min(places, double{most_schedule_coordinates})),
               "places for nodes", at, problems);
  if (parameter.most <= most_schedule_coordinates &&
      parameter.width() > most_schedule_coordinates) {
    problems.push_back({at + "/most", "steps times their masks are more than " +
                                          std::to_string(most_schedule_coordinates) +
                                          " coordinates"});
  }
  check_names(parameter.choices, at + "/choices", problems);
  check_names(parameter.mask, at + "/mask", problems);
}

Coordinate whole_coordinate(double low, double high, bool ordered) {
  return {low, high, low, high, true, false, ordered};
}

double middle(const Coordinate& c) {
  return (c.sampling_low + c.sampling_high) / 2;
}

void repair_scalar(const Coordinate& c, double& x) {
  if (std::isnan(x)) x = middle(c);
  if (c.whole) x = std::nearbyint(x);
  x = std::clamp(x, std::isfinite(c.low) ? c.low : -1e300, std::isfinite(c.high) ? c.high : 1e300);
  x += 0.0;  // never -0.0, so that equal points have equal bits
}

/// Coordinates of a block with the largest values, ties by place; `count` of them.
std::vector<std::size_t> largest(std::span<const double> block, std::size_t count) {
  std::vector<std::size_t> order(block.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return block[a] > block[b]; });
  order.resize(count);
  return order;
}

void repair_subset(const Parameter& parameter, std::span<double> block) {
  for (double& x : block) {
    if (std::isnan(x)) x = 0.5;
  }
  const auto wanted = static_cast<std::size_t>(
      std::count_if(block.begin(), block.end(), [](double x) { return x > 0.5; }));
  const auto chosen = largest(block, std::clamp(wanted, parameter.least, parameter.most));
  std::fill(block.begin(), block.end(), 0.0);
  for (const std::size_t i : chosen) block[i] = 1;
}

/// Coordinates are read as keys: place i gets the item whose index is the rank of key i.  A valid
/// permutation is its own ranks.
void repair_permutation(std::span<double> block) {
  for (double& x : block) {
    if (std::isnan(x)) x = 0;
  }
  std::vector<std::size_t> order(block.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return block[a] < block[b]; });
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    block[order[rank]] = static_cast<double>(rank);
  }
}

void repair_simplex(std::span<double> block) {
  double sum = 0;
  bool valid = true;
  for (const double x : block) {
    valid = valid && x >= 0;
    sum += x;
  }
  if (valid && std::abs(sum - 1) <= simplex_tolerance) {
    for (double& x : block) x += 0.0;
    return;
  }
  for (double& x : block) {
    if (!std::isfinite(x)) x = x > 0 ? 1 : 0;
  }
  project_to_simplex(block);
}

/// The smallest distance of two nodes.
double least_gap(const Parameter& parameter) {
  return parameter.whole ? 1 : (parameter.high - parameter.low) * 1e-9;
}

void repair_schedule(const Parameter& parameter, std::span<const Coordinate> coordinates,
                     std::span<double> block) {
  for (std::size_t i = 0; i < block.size(); ++i) repair_scalar(coordinates[i], block[i]);
  const auto count = static_cast<std::size_t>(block[0]);
  const std::size_t width = parameter.step_width();
  const std::span<double> all = block.subspan(1);
  std::vector<std::vector<double>> steps;
  for (std::size_t s = 0; s < count; ++s) {
    const auto step = all.subspan(s * width, width);
    steps.emplace_back(step.begin(), step.end());
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const auto& a, const auto& b) { return a[0] < b[0]; });
  const double gap = least_gap(parameter);
  for (std::size_t s = 1; s < count; ++s)
    steps[s][0] = std::max(steps[s][0], steps[s - 1][0] + gap);
  for (std::size_t s = count; s-- > 0;) {
    steps[s][0] = std::min(steps[s][0], s + 1 < count ? steps[s + 1][0] - gap : parameter.high);
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t s = i / width;
    // What is beyond the last step has one value only.
    all[i] = (s < count ? steps[s][i % width] : coordinates[1 + i % width].low) + 0.0;
  }
}

std::string schedule_problem(const Parameter& parameter, std::span<const Coordinate> coordinates,
                             std::span<const double> block) {
  const auto count = static_cast<std::size_t>(block[0]);
  const std::size_t width = parameter.step_width();
  for (std::size_t s = 0; s < parameter.most; ++s) {
    const auto step = block.subspan(1 + s * width, width);
    if (s >= count) {
      for (std::size_t i = 0; i < width; ++i) {
        if (step[i] != coordinates[1 + i].low) return "has values beyond its last step";
      }
    } else if (s > 0 && !(step[0] > block[1 + (s - 1) * width])) {
      return "nodes must increase from step to step";
    }
  }
  return "";
}

void sample_schedule(const Parameter& parameter, std::span<const Coordinate> coordinates,
                     std::span<double> block, Rng& rng) {
  const auto range = static_cast<std::uint64_t>(parameter.most - parameter.least + 1);
  const std::size_t count = parameter.least + rng.below(range);
  block[0] = static_cast<double>(count);
  const std::size_t width = parameter.step_width();
  // From nearly no bit to nearly all: with one half each, sparse masks would hardly be seen.
  const double density = rng.uniform();
  for (std::size_t s = 0; s < parameter.most; ++s) {
    double* step = block.data() + 1 + s * width;
    *step = rng.uniform(parameter.low, parameter.high + (parameter.whole ? 1 : 0));
    if (parameter.whole) *step = std::min(std::floor(*step), parameter.high);
    ++step;
    if (!parameter.choices.empty()) {
      *step++ = static_cast<double>(rng.below(parameter.choices.size()));
    }
    for (std::size_t b = 0; b < parameter.mask.size(); ++b) {
      *step++ = rng.bernoulli(density) ? 1 : 0;
    }
  }
  repair_schedule(parameter, coordinates, block);
}

void sample_subset(const Parameter& parameter, std::span<double> block, Rng& rng) {
  const auto range = static_cast<std::uint64_t>(parameter.most - parameter.least + 1);
  const std::size_t count = parameter.least + rng.below(range);
  std::vector<std::size_t> order(block.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  rng.shuffle(order);
  std::fill(block.begin(), block.end(), 0.0);
  for (std::size_t i = 0; i < count; ++i) block[order[i]] = 1;
}

/// Uniform on the simplex: normalised exponentials.
void sample_simplex(std::span<double> block, Rng& rng) {
  double sum = 0;
  for (double& x : block) {
    x = -std::log1p(-rng.uniform());
    sum += x;
  }
  for (double& x : block) x = sum > 0 ? x / sum : 1.0 / static_cast<double>(block.size());
}

void sample_scalar(const Coordinate& c, double& x, Rng& rng) {
  if (c.whole) {
    const auto values = static_cast<std::uint64_t>(c.sampling_high - c.sampling_low) + 1;
    x = c.sampling_low + static_cast<double>(rng.below(values));
  } else if (c.log_scale) {
    x = std::clamp(std::exp(rng.uniform(std::log(c.sampling_low), std::log(c.sampling_high))),
                   c.low, c.high);
  } else {
    x = rng.uniform(c.sampling_low, c.sampling_high);
  }
}

Coordinate affine_coordinate(const Parameter& parameter) {
  Coordinate c{parameter.low, parameter.high, 0, 0, false, false, true};
  // Coefficients live at scale 1/K (lcsc.md 2c), so that is where to look first.
  const double scale = 1.0 / static_cast<double>(parameter.size);
  c.sampling_low = std::max(parameter.low, -scale);
  c.sampling_high = std::min(parameter.high, 3 * scale);
  if (!(c.sampling_low < c.sampling_high)) {
    c.sampling_low = std::max(parameter.low, -10.0);
    c.sampling_high = std::min(parameter.high, 10.0);
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

std::size_t Parameter::width() const {
  switch (type) {
    case ParameterType::affine:
      return size - 1;
    case ParameterType::simplex:
      return size;
    case ParameterType::subset:
    case ParameterType::permutation:
      return choices.size();
    case ParameterType::schedule:
      return 1 + most * step_width();
    default:
      return 1;
  }
}

std::size_t Parameter::reference() const {
  for (std::size_t i = positions.size(); i > 0; --i) {
    if (positions[i - 1]) return i - 1;
  }
  return size - 1;
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
      check_whole_bounds(parameter, at, problems);
      break;
    case ParameterType::categorical:
      check_items(parameter, 1, at, problems);
      break;
    case ParameterType::boolean:
      break;
    case ParameterType::affine:
      check_size(parameter, at, problems);
      check_affine(parameter, at, problems);
      break;
    case ParameterType::simplex:
      check_size(parameter, at, problems);
      break;
    case ParameterType::subset:
      check_items(parameter, 1, at, problems);
      check_counts(parameter, parameter.choices.size(), "items", at, problems);
      break;
    case ParameterType::permutation:
      check_items(parameter, 2, at, problems);
      break;
    case ParameterType::schedule:
      check_schedule(parameter, at, problems);
      break;
  }
}

std::vector<Coordinate> coordinates_of(const Parameter& parameter) {
  switch (parameter.type) {
    case ParameterType::real:
      return {{parameter.low, parameter.high, parameter.low, parameter.high, false,
               parameter.log_scale, true}};
    case ParameterType::integer:
      return {whole_coordinate(parameter.low, parameter.high, true)};
    case ParameterType::categorical:
      return {whole_coordinate(0, static_cast<double>(parameter.choices.size() - 1), false)};
    case ParameterType::boolean:
      return {whole_coordinate(0, 1, true)};
    case ParameterType::affine:
      return std::vector<Coordinate>(parameter.width(), affine_coordinate(parameter));
    case ParameterType::simplex:
      return std::vector<Coordinate>(parameter.width(), {0, 1, 0, 1, false, false, true});
    case ParameterType::subset:
      return std::vector<Coordinate>(parameter.width(), whole_coordinate(0, 1, true));
    case ParameterType::permutation: {
      const auto last = static_cast<double>(parameter.choices.size() - 1);
      return std::vector<Coordinate>(parameter.width(), whole_coordinate(0, last, true));
    }
    case ParameterType::schedule:
      break;
  }
  std::vector<Coordinate> coordinates{whole_coordinate(static_cast<double>(parameter.least),
                                                       static_cast<double>(parameter.most), true)};
  for (std::size_t s = 0; s < parameter.most; ++s) {
    coordinates.push_back({parameter.low, parameter.high, parameter.low, parameter.high,
                           parameter.whole, false, true});
    if (!parameter.choices.empty()) {
      coordinates.push_back(
          whole_coordinate(0, static_cast<double>(parameter.choices.size() - 1), false));
    }
    coordinates.insert(coordinates.end(), parameter.mask.size(), whole_coordinate(0, 1, true));
  }
  return coordinates;
}

std::string block_problem(const Parameter& parameter, std::span<const Coordinate> coordinates,
                          std::span<const double> block) {
  for (std::size_t i = 0; i < block.size(); ++i) {
    const Coordinate& c = coordinates[i];
    if (!std::isfinite(block[i])) return "must be finite";
    if (block[i] < c.low || block[i] > c.high) return "is out of bounds";
    if (c.whole && block[i] != std::trunc(block[i])) return "must be a whole number";
  }
  const double sum = std::accumulate(block.begin(), block.end(), 0.0);
  switch (parameter.type) {
    case ParameterType::simplex:
      return std::abs(sum - 1) <= simplex_tolerance ? "" : "shares must sum to 1";
    case ParameterType::subset:
      if (sum < static_cast<double>(parameter.least)) return "chooses too few items";
      return sum > static_cast<double>(parameter.most) ? "chooses too many items" : "";
    case ParameterType::permutation: {
      std::vector<bool> seen(block.size());
      for (const double x : block) seen[static_cast<std::size_t>(x)] = true;
      const bool all = std::find(seen.begin(), seen.end(), false) == seen.end();
      return all ? "" : "must have every item once";
    }
    case ParameterType::schedule:
      return schedule_problem(parameter, coordinates, block);
    default:
      return "";
  }
}

void repair_block(const Parameter& parameter, std::span<const Coordinate> coordinates,
                  std::span<double> block) {
  switch (parameter.type) {
    case ParameterType::simplex:
      return repair_simplex(block);
    case ParameterType::subset:
      return repair_subset(parameter, block);
    case ParameterType::permutation:
      return repair_permutation(block);
    case ParameterType::schedule:
      return repair_schedule(parameter, coordinates, block);
    default:
      for (std::size_t i = 0; i < block.size(); ++i) repair_scalar(coordinates[i], block[i]);
  }
}

void sample_block(const Parameter& parameter, std::span<const Coordinate> coordinates,
                  std::span<double> block, Rng& rng) {
  switch (parameter.type) {
    case ParameterType::simplex:
      return sample_simplex(block, rng);
    case ParameterType::subset:
      return sample_subset(parameter, block, rng);
    case ParameterType::permutation: {
      std::vector<double> order(block.size());
      std::iota(order.begin(), order.end(), 0.0);
      rng.shuffle(order);
      std::copy(order.begin(), order.end(), block.begin());
      return;
    }
    case ParameterType::schedule:
      return sample_schedule(parameter, coordinates, block, rng);
    default:
      for (std::size_t i = 0; i < block.size(); ++i) sample_scalar(coordinates[i], block[i], rng);
  }
}

void project_to_simplex(std::span<double> shares) {
  std::vector<double> sorted(shares.begin(), shares.end());
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  double sum = 0;
  double threshold = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    sum += sorted[i];
    const double t = (sum - 1) / static_cast<double>(i + 1);
    if (sorted[i] - t > 0) threshold = t;
  }
  for (double& x : shares) x = std::max(x - threshold, 0.0) + 0.0;  // never -0.0
}

}  // namespace paretod
