#include "daemon/jobs/front_query.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <string_view>
#include <utility>

namespace paretod {
namespace {

/// Distances that thinned() may compute: some milliseconds.
constexpr std::size_t affordable_distances = 2'000'000;

double signed_value(double value, const Objective& objective) {
  return objective.goal == Goal::maximize ? -value : value;
}

/// Ordered by score, then by tie, then by place.
struct Scored {
  double score = 0;
  double tie = 0;
  std::size_t place = 0;
  bool operator<(const Scored& other) const {
    if (score != other.score) return score < other.score;
    if (tie != other.tie) return tie < other.tie;
    return place < other.place;
  }
};

/// `score` is called with a normalised point and gives what is to be smallest.
template <class Score>
Choice choose(const ObjectiveVectors& points, const std::vector<std::size_t>& allowed,
              const FrontScale& scale, Score score) {
  std::optional<Scored> best;
  std::optional<Scored> next;
  std::vector<double> z(scale.ideal.size());
  for (const std::size_t place : allowed) {
    for (std::size_t i = 0; i < z.size(); ++i) z[i] = scale.normalised(i, points[place][i]);
    const Scored scored{score(z, points[place]), std::accumulate(z.begin(), z.end(), 0.0), place};
    if (!best || scored < *best) {
      next = std::exchange(best, scored);
    } else if (!next || scored < *next) {
      next = scored;
    }
  }
  Choice choice{best->place, best->score, std::nullopt, 0};
  if (next) {
    choice.runner_up = next->place;
    choice.runner_up_value = next->score;
  }
  return choice;
}

// ---- reading -----------------------------------------------------------------------------------

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> items_of(std::string_view text) {
  std::vector<std::string_view> items;
  while (true) {
    const std::size_t comma = text.find(',');
    items.push_back(trimmed(text.substr(0, comma)));
    if (comma == std::string_view::npos) return items;
    text.remove_prefix(comma + 1);
  }
}

std::string known_names(const std::vector<Objective>& objectives) {
  std::string names;
  for (const Objective& objective : objectives) {
    names += (names.empty() ? "" : ", ") + objective.name;
  }
  return names;
}

std::string unknown_name(std::string_view name, const std::vector<Objective>& objectives) {
  return "there is no objective \"" + std::string(name) + "\"; known: " + known_names(objectives);
}

/// "fd:0.7,time:0.3" with the job's own names.
std::string example_of(const std::vector<Objective>& objectives) {
  constexpr std::array values = {":0.7", ":0.3"};
  std::string text;
  for (std::size_t i = 0; i < std::min(values.size(), objectives.size()); ++i) {
    text += (i > 0 ? "," : "") + objectives[i].name + values[i];
  }
  return text;
}

/// Anything std::from_chars reads, with a plus sign allowed; "nan" and "inf" are numbers here, so
/// that they can be refused by name.
std::optional<double> number_of(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || stop != end || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) return std::numeric_limits<double>::infinity();
  return value;
}

std::optional<std::size_t> find_objective(std::string_view name,
                                          const std::vector<Objective>& objectives) {
  const auto found = std::find_if(objectives.begin(), objectives.end(),
                                  [&](const Objective& known) { return known.name == name; });
  if (found == objectives.end()) return std::nullopt;
  return static_cast<std::size_t>(found - objectives.begin());
}

struct Operator {
  std::string_view text;
  Comparison comparison;
};
/// The longer ones first.
constexpr std::array<Operator, 6> operators{{{">=", Comparison::at_least},
                                             {"<=", Comparison::at_most},
                                             {"==", Comparison::equal},
                                             {"<", Comparison::less},
                                             {">", Comparison::greater},
                                             {"=", Comparison::equal}}};

const Operator* operator_at(std::string_view text) {
  for (const Operator& known : operators) {
    if (text.substr(0, known.text.size()) == known.text) return &known;
  }
  return nullptr;
}

std::string where_form(const std::vector<Objective>& objectives) {
  return "expected OBJECTIVE, one of >= <= < > =, and a number, such as " + objectives[0].name +
         "<=0.5; known objectives: " + known_names(objectives);
}

Result<FrontConstraint> read_constraint(std::string_view item,
                                        const std::vector<Objective>& objectives) {
  constexpr std::string_view starts = "<>=";
  const std::size_t sign = item.find_first_of(starts);
  std::string_view name = trimmed(item.substr(0, sign));
  std::string_view rest = sign == item.npos ? std::string_view() : item.substr(sign);
  // A name may itself hold such characters.
  for (const Objective& objective : objectives) {
    if (objective.name.size() <= name.size() ||
        item.substr(0, objective.name.size()) != objective.name)
      continue;
    const std::string_view behind = trimmed(item.substr(objective.name.size()));
    if (operator_at(behind) == nullptr) continue;
    name = objective.name;
    rest = behind;
  }
  const Operator* const found = operator_at(rest);
  const std::string quoted = "\"" + std::string(item) + "\" is no constraint: ";
  if (found == nullptr || name.empty()) return invalid(quoted + where_form(objectives));
  const auto objective = find_objective(name, objectives);
  if (!objective) return invalid(unknown_name(name, objectives));
  const auto bound = number_of(trimmed(rest.substr(found->text.size())));
  if (!bound) return invalid(quoted + where_form(objectives));
  if (!std::isfinite(*bound)) return invalid(quoted + "the bound must be a finite number");
  return FrontConstraint{*objective, found->comparison, *bound};
}

void read_where(const FrontQuestion& question, const std::vector<Objective>& objectives,
                FrontQuery& query, Problems& problems) {
  for (const std::string& text : question.where) {
    for (const std::string_view item : items_of(text)) {
      auto constraint = read_constraint(item, objectives);
      if (constraint) {
        query.where.push_back(*constraint);
      } else {
        problems.push_back({"/query/where", constraint.error().message});
      }
    }
  }
}

void read_preference(const std::string& text, const std::vector<Objective>& objectives,
                     FrontQuery& query, Problems& problems) {
  const std::string pointer = "/query/preference";
  const auto values = read_objective_values(text, objectives, pointer);
  if (!values) {
    problems.insert(problems.end(), values.error().problems.begin(), values.error().problems.end());
    return;
  }
  std::vector<double> weights;
  double largest = 0;
  for (std::size_t i = 0; i < objectives.size(); ++i) {
    weights.push_back((*values)[i].value_or(0));
    largest = std::max(largest, weights.back());
    if (weights.back() >= 0) continue;
    problems.push_back({pointer, "the weight of " + objectives[i].name +
                                     " is negative; weights say how much an objective matters, "
                                     "whether it is minimised or maximised"});
    return;
  }
  if (largest == 0) {
    problems.push_back(
        {pointer, "at least one weight must be above zero, such as " + example_of(objectives)});
    return;
  }
  // By the largest first: the sum of finite weights may not be finite.
  double sum = 0;
  for (double& weight : weights) sum += weight /= largest;
  for (double& weight : weights) weight /= sum;
  query.weights = std::move(weights);
}

}  // namespace

// ---- scale -------------------------------------------------------------------------------------

double FrontScale::part(std::size_t objective, double difference) const {
  // Halved first: the range of two finite numbers may not be finite.
  const double range = nadir[objective] / 2 - ideal[objective] / 2;
  return range > 0 ? difference / 2 / range : difference;
}

double FrontScale::normalised(std::size_t objective, double value) const {
  const double range = nadir[objective] / 2 - ideal[objective] / 2;
  return range > 0 ? (value / 2 - ideal[objective] / 2) / range : 0;
}

FrontScale scale_of(const ObjectiveVectors& points) {
  FrontScale scale;
  if (points.empty()) return scale;
  scale.ideal = scale.nadir = points[0];
  for (const auto& point : points) {
    for (std::size_t i = 0; i < point.size(); ++i) {
      scale.ideal[i] = std::min(scale.ideal[i], point[i]);
      scale.nadir[i] = std::max(scale.nadir[i], point[i]);
    }
  }
  return scale;
}

// ---- constraints -------------------------------------------------------------------------------

bool FrontConstraint::holds(double value) const {
  switch (comparison) {
    case Comparison::at_least:
      return value >= bound;
    case Comparison::at_most:
      return value <= bound;
    case Comparison::less:
      return value < bound;
    case Comparison::greater:
      return value > bound;
    case Comparison::equal:
      break;
  }
  return value == bound;
}

double FrontConstraint::miss(double value) const {
  return holds(value) ? 0 : std::abs(value - bound);
}

std::string text_of(const FrontConstraint& constraint, const std::vector<Objective>& objectives) {
  std::string_view sign;
  for (const Operator& known : operators) {
    if (known.comparison == constraint.comparison) sign = known.text;
  }
  return objectives[constraint.objective].name + " " + std::string(sign) + " " +
         shortest(constraint.bound);
}

std::vector<std::size_t> satisfying(const ObjectiveVectors& points,
                                    const std::vector<Objective>& objectives,
                                    const std::vector<FrontConstraint>& where) {
  std::vector<std::size_t> allowed;
  for (std::size_t place = 0; place < points.size(); ++place) {
    const bool all = std::all_of(where.begin(), where.end(), [&](const FrontConstraint& each) {
      return each.holds(signed_value(points[place][each.objective], objectives[each.objective]));
    });
    if (all) allowed.push_back(place);
  }
  return allowed;
}

std::size_t closest_to(const ObjectiveVectors& points, const std::vector<Objective>& objectives,
                       const FrontScale& scale, const std::vector<FrontConstraint>& where) {
  std::size_t closest = 0;
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t place = 0; place < points.size(); ++place) {
    double miss = 0;
    for (const FrontConstraint& each : where) {
      const std::size_t i = each.objective;
      miss += scale.part(i, each.miss(signed_value(points[place][i], objectives[i])));
    }
    if (miss < least) {
      least = miss;
      closest = place;
    }
  }
  return closest;
}

// ---- choices -----------------------------------------------------------------------------------

std::string_view name_of(PreferenceMethod method) {
  return method == PreferenceMethod::chebyshev ? "chebyshev" : "weighted_sum";
}

Choice choose_by_preference(const ObjectiveVectors& points, const std::vector<std::size_t>& allowed,
                            const FrontScale& scale, const std::vector<double>& weights,
                            PreferenceMethod method) {
  return choose(points, allowed, scale, [&](const std::vector<double>& z, const auto&) {
    double largest = 0;
    double sum = 0;
    for (std::size_t i = 0; i < z.size(); ++i) {
      largest = std::max(largest, weights[i] * z[i]);
      sum += weights[i] * z[i];
    }
    return method == PreferenceMethod::chebyshev ? largest + augmentation * sum : sum;
  });
}

Choice choose_by_reference(const ObjectiveVectors& points, const std::vector<std::size_t>& allowed,
                           const FrontScale& scale,
                           const std::vector<std::optional<double>>& reference) {
  return choose(points, allowed, scale, [&](const auto&, const std::vector<double>& point) {
    double largest = -std::numeric_limits<double>::infinity();
    double sum = 0;
    for (std::size_t i = 0; i < point.size(); ++i) {
      if (!reference[i]) continue;
      const double behind = scale.part(i, point[i] - *reference[i]);
      largest = std::max(largest, behind);
      sum += behind;
    }
    return largest + augmentation * sum;
  });
}

Choice choose_knee(const ObjectiveVectors& points, const std::vector<std::size_t>& allowed,
                   const FrontScale& scale) {
  const double length =
      std::sqrt(static_cast<double>(std::max<std::size_t>(scale.ideal.size(), 1)));
  Choice choice = choose(points, allowed, scale, [&](const std::vector<double>& z, const auto&) {
    return (std::accumulate(z.begin(), z.end(), 0.0) - 1) / length;
  });
  choice.value = -choice.value;
  choice.runner_up_value = -choice.runner_up_value;
  return choice;
}

std::vector<std::size_t> spread(std::size_t size, std::size_t limit) {
  const std::size_t count = std::min(size, limit);
  std::vector<std::size_t> shown(count);
  for (std::size_t i = 0; i < count; ++i) {
    shown[i] = count > 1 ? i * (size - 1) / (count - 1) : 0;
  }
  return shown;
}

std::vector<std::size_t> thinned(const ObjectiveVectors& points,
                                 const std::vector<std::size_t>& allowed, const FrontScale& scale,
                                 std::size_t limit) {
  if (allowed.size() <= limit) return allowed;
  const std::size_t dimensions = scale.ideal.size();
  std::vector<std::size_t> shown;
  if (dimensions <= 2) {
    for (const std::size_t i : spread(allowed.size(), limit)) shown.push_back(allowed[i]);
    return shown;
  }
  const std::size_t size = allowed.size();
  // By column, so that the inner loop runs over one array after the other.
  std::vector<std::vector<double>> columns(dimensions, std::vector<double>(size));
  for (std::size_t k = 0; k < dimensions; ++k) {
    for (std::size_t i = 0; i < size; ++i) {
      columns[k][i] = scale.normalised(k, points[allowed[i]][k]);
    }
  }
  std::vector<double> distance(size, std::numeric_limits<double>::infinity());
  std::vector<double> squares(size);
  std::vector<bool> is_taken(size, false);
  std::size_t taken = 0;
  const auto take = [&](std::size_t place) {
    if (is_taken[place] || taken == limit) return;
    is_taken[place] = true;
    ++taken;
    std::fill(squares.begin(), squares.end(), 0.0);
    for (const auto& column : columns) {
      const double own = column[place];
      for (std::size_t i = 0; i < size; ++i) squares[i] += (column[i] - own) * (column[i] - own);
    }
    for (std::size_t i = 0; i < size; ++i) distance[i] = std::min(distance[i], squares[i]);
  };
  for (const auto& column : columns) {
    take(static_cast<std::size_t>(std::min_element(column.begin(), column.end()) - column.begin()));
  }
  const std::size_t greedy = std::max(affordable_distances / size, dimensions);
  while (taken < std::min(limit, greedy)) {
    const auto farthest = std::max_element(distance.begin(), distance.end());
    if (!(*farthest > 0)) break;
    take(static_cast<std::size_t>(farthest - distance.begin()));
  }
  std::vector<std::size_t> rest;
  for (std::size_t i = 0; i < size; ++i) {
    if (!is_taken[i]) rest.push_back(i);
  }
  if (taken < limit) {
    for (const std::size_t i : spread(rest.size(), limit - taken)) is_taken[rest[i]] = true;
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (is_taken[i]) shown.push_back(allowed[i]);
  }
  return shown;
}

bool dominates_surely(const double* member, const double* member_errors, const double* other,
                      const double* other_errors, std::size_t objectives, double z) {
  bool better = false;
  for (std::size_t i = 0; i < objectives; ++i) {
    const double difference = other[i] - member[i];
    if (difference < 0) return false;
    const double a = std::max(member_errors[i], 0.0);
    const double b = std::max(other_errors[i], 0.0);
    // Between the larger one and their sum: the root is seldom needed.
    if (difference < z * std::max(a, b)) return false;
    if (difference < z * (a + b) && difference < z * std::hypot(a, b)) return false;
    better = better || difference > 0;
  }
  return better;
}

// ---- reading -----------------------------------------------------------------------------------

std::string shortest(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

Result<std::vector<std::optional<double>>> read_objective_values(
    const std::string& text, const std::vector<Objective>& objectives, const std::string& pointer) {
  std::vector<std::optional<double>> values(objectives.size());
  const auto refuse = [&](std::string why) {
    return invalid("The query is not valid.", {{pointer, std::move(why)}});
  };
  const std::string form = "expected OBJECTIVE:NUMBER, separated by commas, such as " +
                           example_of(objectives) +
                           "; known objectives: " + known_names(objectives);
  for (const std::string_view item : items_of(text)) {
    const std::size_t sign = item.find_last_of(":=");
    if (sign == std::string_view::npos) {
      return refuse("\"" + std::string(item) + "\" has no number: " + form);
    }
    const std::string_view name = trimmed(item.substr(0, sign));
    const auto objective = find_objective(name, objectives);
    if (!objective) return refuse(name.empty() ? form : unknown_name(name, objectives));
    const auto value = number_of(trimmed(item.substr(sign + 1)));
    if (!value) return refuse("the value of " + std::string(name) + " is not a number: " + form);
    if (!std::isfinite(*value)) {
      return refuse("the value of " + std::string(name) + " must be a finite number");
    }
    if (values[*objective]) {
      return refuse(std::string(name) + " is given more than once; name each objective once");
    }
    values[*objective] = value;
  }
  return values;
}

Result<FrontQuery> read_front_query(const FrontQuestion& question,
                                    const std::vector<Objective>& objectives) {
  FrontQuery query;
  Problems problems;
  query.knee = question.knee;
  read_where(question, objectives, query, problems);
  if (question.preference) read_preference(*question.preference, objectives, query, problems);
  if (question.reference_point) {
    const std::string pointer = "/query/reference_point";
    auto values = read_objective_values(*question.reference_point, objectives, pointer);
    if (values) {
      query.reference_point = std::move(*values);
    } else {
      const Problems& found = values.error().problems;
      problems.insert(problems.end(), found.begin(), found.end());
    }
  }
  std::vector<std::string> ways;
  if (question.preference) ways.emplace_back("preference");
  if (question.reference_point) ways.emplace_back("reference_point");
  if (question.knee) ways.emplace_back("knee");
  for (std::size_t i = 1; i < ways.size(); ++i) {
    problems.push_back({"/query/" + ways[i], "cannot be combined with " + ways[0] +
                                                 ": each is a way to choose one point; ask once "
                                                 "for each"});
  }
  if (question.method) {
    if (*question.method == name_of(PreferenceMethod::weighted_sum)) {
      query.method = PreferenceMethod::weighted_sum;
    } else if (*question.method != name_of(PreferenceMethod::chebyshev)) {
      problems.push_back({"/query/method", "must be one of chebyshev, weighted_sum"});
    }
    if (!question.preference) {
      problems.push_back({"/query/method", "says how a preference chooses: add preference=" +
                                               example_of(objectives)});
    }
  }
  if (question.confidence) {
    const auto value = number_of(trimmed(*question.confidence));
    if (value && *value >= 0.5 && *value < 1) {
      query.confidence = *value;
    } else {
      problems.push_back(
          {"/query/confidence", "must be a number of at least 0.5 and less than 1, such as 0.95"});
    }
  }
  if (problems.empty()) return query;
  std::vector<std::string> names;
  for (const Problem& problem : problems) {
    std::string name = problem.pointer.substr(std::string_view("/query/").size());
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return invalid("The query is not valid: " + list + ".", std::move(problems));
}

}  // namespace paretod
