#include "adapters/json/space_json.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <utility>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/parse.hpp"

namespace paretod {
namespace {

using nlohmann::json;

std::string text_of(double number) {
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number).ptr;
  return {buffer.data(), end};
}

void read_bounds(ObjectReader& reader, Parameter& parameter) {
  if (reader.require("low") != nullptr) parameter.low = reader.number("low").value_or(0);
  if (reader.require("high") != nullptr) parameter.high = reader.number("high").value_or(1);
}

void read_positions(ObjectReader& reader, Parameter& parameter) {
  const json* array = reader.find("positions");
  if (array == nullptr) return;
  if (!array->is_array()) {
    reader.refuse("positions", "has to be an array of numbers and nulls");
    return;
  }
  for (const json& item : *array) {
    if (item.is_null()) {
      parameter.positions.emplace_back();
    } else if (item.is_number()) {
      parameter.positions.emplace_back(item.get<double>());
    } else {
      reader.refuse_item("positions", parameter.positions.size(), "has to be a number or null");
      return;
    }
  }
}

void read_size(ObjectReader& reader, Parameter& parameter) {
  if (reader.require("size") != nullptr) {
    parameter.size = static_cast<std::size_t>(reader.count("size").value_or(2));
  }
  parameter.labels = reader.strings("labels").value_or(std::vector<std::string>{});
}

void read_choices(ObjectReader& reader, Parameter& parameter) {
  if (reader.require("choices") == nullptr) return;
  parameter.choices = reader.strings("choices").value_or(std::vector<std::string>{});
}

void read_subset(ObjectReader& reader, Parameter& parameter) {
  read_choices(reader, parameter);
  parameter.least = static_cast<std::size_t>(reader.count("least").value_or(0));
  parameter.most =
      static_cast<std::size_t>(reader.count("most").value_or(parameter.choices.size()));
}

void read_schedule(ObjectReader& reader, Parameter& parameter) {
  read_bounds(reader, parameter);
  parameter.whole = reader.boolean("whole").value_or(false);
  if (reader.require("least") != nullptr) {
    parameter.least = static_cast<std::size_t>(reader.count("least").value_or(1));
  }
  parameter.most = static_cast<std::size_t>(reader.count("most").value_or(parameter.least));
  parameter.choices = reader.strings("choices").value_or(std::vector<std::string>{});
  parameter.mask = reader.strings("mask").value_or(std::vector<std::string>{});
}

void read_affine(ObjectReader& reader, Parameter& parameter) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  read_size(reader, parameter);
  read_positions(reader, parameter);
  parameter.low = reader.number("low").value_or(-infinity);
  parameter.high = reader.number("high").value_or(infinity);
}

/// A value of a parameter that a condition can be about, as its coordinate.
std::optional<double> condition_value(const Parameter& parent, const json& value) {
  if (parent.type == ParameterType::categorical && value.is_string()) {
    const auto& choices = parent.choices;
    const auto found =
        std::find(choices.begin(), choices.end(), value.get_ref<const std::string&>());
    if (found != choices.end()) return static_cast<double>(found - choices.begin());
  }
  if (parent.type == ParameterType::boolean && value.is_boolean()) {
    return value.get<bool>() ? 1.0 : 0.0;
  }
  if (parent.type == ParameterType::integer && value.is_number()) return value.get<double>();
  return std::nullopt;
}

/// {"activation": "gelu"} or {"layers": [2, 3]}.  Which parameter, and whether it comes before, is
/// checked by SearchSpace::make; here only its values are looked up.
void read_condition(ObjectReader& reader, const std::vector<Parameter>& earlier,
                    Parameter& parameter, const std::string& pointer, Problems& problems) {
  const json* when = reader.find("when");
  if (when == nullptr) return;
  if (!when->is_object() || when->size() != 1) {
    reader.refuse("when", "has to be an object with one parameter's name and its values");
    return;
  }
  Condition condition{when->begin().key(), {}};
  const auto parent = std::find_if(earlier.begin(), earlier.end(), [&](const Parameter& other) {
    return other.name == condition.parameter;
  });
  const json& listed = when->begin().value();
  const json values = listed.is_array() ? listed : json::array({listed});
  for (std::size_t i = 0; parent != earlier.end() && i < values.size(); ++i) {
    if (const auto value = condition_value(*parent, values[i])) {
      condition.values.push_back(*value);
    } else {
      problems.push_back({pointer + "/when/" + condition.parameter +
                              (listed.is_array() ? "/" + std::to_string(i) : std::string()),
                          "is no value of \"" + condition.parameter + "\""});
    }
  }
  parameter.when = std::move(condition);
}

Parameter parameter_from_json(const json& value, const std::vector<Parameter>& earlier,
                              const std::string& pointer, Problems& problems) {
  Parameter parameter;
  ObjectReader reader(value, pointer, problems);
  if (reader.require("name") != nullptr) parameter.name = reader.string("name").value_or("");
  const bool has_type = reader.require("type") != nullptr;
  const auto type_text = reader.string("type");
  if (!has_type || !type_text) return parameter;
  const auto type = parameter_type(*type_text);
  if (!type) {
    reader.refuse("type",
                  "has to be real, integer, categorical, boolean, affine, simplex, subset, "
                  "permutation or schedule");
    return parameter;
  }
  parameter.type = *type;
  switch (*type) {
    case ParameterType::real:
      read_bounds(reader, parameter);
      parameter.log_scale = reader.boolean("log").value_or(false);
      break;
    case ParameterType::integer:
      read_bounds(reader, parameter);
      break;
    case ParameterType::categorical:
    case ParameterType::permutation:
      read_choices(reader, parameter);
      break;
    case ParameterType::boolean:
      break;
    case ParameterType::affine:
      read_affine(reader, parameter);
      break;
    case ParameterType::simplex:
      read_size(reader, parameter);
      break;
    case ParameterType::subset:
      read_subset(reader, parameter);
      break;
    case ParameterType::schedule:
      read_schedule(reader, parameter);
      break;
  }
  read_condition(reader, earlier, parameter, pointer, problems);
  reader.refuse_others();
  return parameter;
}

/// Where one of `names` stands, or a problem.
std::optional<std::size_t> index_of(const std::vector<std::string>& names, const json& value,
                                    std::string& problem) {
  if (value.is_string()) {
    const auto found = std::find(names.begin(), names.end(), value.get_ref<const std::string&>());
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  }
  problem = "has to be one of:";
  for (const std::string& name : names) problem += " \"" + name + "\"";
  return std::nullopt;
}

void read_number(const Parameter& parameter, bool whole, const json& value, double& x,
                 std::string& problem) {
  if (!value.is_number()) {
    problem = "has to be a number, not " + json_type_name(value);
    return;
  }
  x = value.get<double>() + 0.0;  // never -0.0
  if (whole && x != std::floor(x)) {
    problem = "has to be a whole number";
  } else if (!(x >= parameter.low && x <= parameter.high)) {
    problem = "has to lie in [" + text_of(parameter.low) + ", " + text_of(parameter.high) + "]";
  }
}

/// All coefficients of an affine combination or a simplex.
std::vector<double> read_coefficients(const Parameter& parameter, const json& value,
                                      std::string& problem) {
  const bool numbers = value.is_array() && std::all_of(value.begin(), value.end(),
                                                       [](const json& v) { return v.is_number(); });
  if (!numbers || value.size() != parameter.size) {
    problem = "has to be an array of " + std::to_string(parameter.size) + " numbers";
    return {};
  }
  auto coefficients = value.get<std::vector<double>>();
  const double sum = std::accumulate(coefficients.begin(), coefficients.end(), 0.0);
  if (!(std::abs(sum - 1.0) <= 1e-6)) problem = "has to sum to 1, not to " + text_of(sum);
  return coefficients;
}

/// Sets bits of `block`, one per name that is listed.
void read_bits(const std::vector<std::string>& names, const json& value, std::span<double> block,
               std::string& problem) {
  if (!value.is_array()) {
    problem = "has to be an array of names";
    return;
  }
  for (const json& item : value) {
    const auto index = index_of(names, item, problem);
    if (!index) return;
    if (block[*index] == 1) problem = "lists " + item.dump() + " twice";
    block[*index] = 1;
  }
}

void read_order(const Parameter& parameter, const json& value, std::span<double> block,
                std::string& problem) {
  if (!value.is_array() || value.size() != block.size()) {
    problem = "has to be an array of all " + std::to_string(block.size()) + " items in order";
    return;
  }
  for (std::size_t i = 0; i < block.size() && problem.empty(); ++i) {
    const auto index = index_of(parameter.choices, value[i], problem);
    if (index) block[i] = static_cast<double>(*index);
  }
}

/// What is said of a step that it cannot have; empty when nothing is.
std::string surplus_of_step(const Parameter& parameter, const json& step) {
  if (!step.is_object()) return "";
  for (const auto& [key, value] : step.items()) {
    if (key == "at") continue;
    if (key == "choice" && !parameter.choices.empty()) continue;
    if (key == "mask" && !parameter.mask.empty()) continue;
    return "cannot have \"" + key + "\": steps of \"" + parameter.name + "\" have at" +
           (parameter.choices.empty() ? "" : ", choice") + (parameter.mask.empty() ? "" : ", mask");
  }
  return "";
}

/// [981, 641], or [{"at": 981, "choice": "ddim", "mask": ["mid"]}] where steps carry more.
void read_steps(const Parameter& parameter, const json& value, std::span<double> block,
                std::string& problem) {
  if (!value.is_array() || value.size() < parameter.least || value.size() > parameter.most) {
    problem = "has to be an array of " + std::to_string(parameter.least) + " to " +
              std::to_string(parameter.most) + " steps";
    return;
  }
  block[0] = static_cast<double>(value.size());
  std::map<double, std::size_t> taken;
  for (std::size_t s = 0; s < parameter.most; ++s) {
    auto step = block.subspan(1 + s * parameter.step_width(), parameter.step_width());
    std::fill(step.begin(), step.end(), 0.0);
    step[0] = parameter.low;
    if (s >= value.size()) continue;
    const json& given = value[s];
    problem = surplus_of_step(parameter, given);
    if (problem.empty()) {
      read_number(parameter, parameter.whole, given.is_object() ? given.value("at", json()) : given,
                  step[0], problem);
    }
    std::size_t next = 1;
    if (problem.empty() && !parameter.choices.empty()) {
      const auto choice = index_of(
          parameter.choices, given.is_object() ? given.value("choice", json()) : json(), problem);
      step[next++] = static_cast<double>(choice.value_or(0));
    }
    if (problem.empty() && given.is_object() && given.contains("mask")) {
      read_bits(parameter.mask, given["mask"], step.subspan(next), problem);
    }
    if (const auto [same, is_new] = taken.emplace(step[0], s + 1); problem.empty() && !is_new) {
      problem = "is where step " + std::to_string(same->second) + " is; steps have to be distinct";
    }
    if (!problem.empty()) {
      problem = "step " + std::to_string(s + 1) + " " + problem;
      return;
    }
  }
}

json steps_json(const Parameter& parameter, std::span<const double> block) {
  json steps = json::array();
  for (std::size_t s = 0; s < static_cast<std::size_t>(block[0]); ++s) {
    const auto step = block.subspan(1 + s * parameter.step_width(), parameter.step_width());
    const json at = parameter.whole ? json(static_cast<std::int64_t>(step[0])) : json(step[0]);
    if (step.size() == 1) {
      steps.push_back(at);
      continue;
    }
    json object{{"at", at}};
    std::size_t next = 1;
    if (!parameter.choices.empty()) {
      object["choice"] = parameter.choices[static_cast<std::size_t>(step[next++])];
    }
    if (!parameter.mask.empty()) object["mask"] = json::array();
    for (std::size_t b = 0; b < parameter.mask.size(); ++b) {
      if (step[next + b] != 0) object["mask"].push_back(parameter.mask[b]);
    }
    steps.push_back(std::move(object));
  }
  return steps;
}

json value_json(const SearchSpace& space, std::size_t p, const Point& point) {
  const Parameter& parameter = space.parameters()[p];
  const auto block = std::span(point).subspan(space.offset(p), parameter.width());
  json items = json::array();
  switch (parameter.type) {
    case ParameterType::real:
      return block[0];
    case ParameterType::integer:
      return static_cast<std::int64_t>(block[0]);
    case ParameterType::categorical:
      return parameter.choices[static_cast<std::size_t>(block[0])];
    case ParameterType::boolean:
      return block[0] != 0.0;
    case ParameterType::affine:
      return space.coefficients(p, point);
    case ParameterType::simplex:
      return std::vector<double>(block.begin(), block.end());
    case ParameterType::subset:
      for (std::size_t i = 0; i < block.size(); ++i) {
        if (block[i] != 0) items.push_back(parameter.choices[i]);
      }
      return items;
    case ParameterType::permutation:
      for (const double x : block) items.push_back(parameter.choices[static_cast<std::size_t>(x)]);
      return items;
    case ParameterType::schedule:
      return steps_json(parameter, block);
  }
  return nullptr;
}

void read_value(const SearchSpace& space, std::size_t p, const json& value, Point& point,
                std::string& problem) {
  const Parameter& parameter = space.parameters()[p];
  const auto block = std::span(point).subspan(space.offset(p), parameter.width());
  switch (parameter.type) {
    case ParameterType::real:
    case ParameterType::integer:
      return read_number(parameter, parameter.type == ParameterType::integer, value, block[0],
                         problem);
    case ParameterType::categorical:
      block[0] = static_cast<double>(index_of(parameter.choices, value, problem).value_or(0));
      return;
    case ParameterType::boolean:
      if (!value.is_boolean()) problem = "has to be true or false";
      block[0] = value == true ? 1.0 : 0.0;
      return;
    case ParameterType::affine: {
      const auto coefficients = read_coefficients(parameter, value, problem);
      if (problem.empty()) space.set_coefficients(p, coefficients, point);
      return;
    }
    case ParameterType::simplex: {
      const auto shares = read_coefficients(parameter, value, problem);
      if (problem.empty()) std::copy(shares.begin(), shares.end(), block.begin());
      return;
    }
    case ParameterType::subset:
      std::fill(block.begin(), block.end(), 0.0);
      return read_bits(parameter.choices, value, block, problem);
    case ParameterType::permutation:
      return read_order(parameter, value, block, problem);
    case ParameterType::schedule:
      return read_steps(parameter, value, block, problem);
  }
}

json condition_json(const Condition& condition, const std::vector<Parameter>& parameters) {
  const auto parent = std::find_if(
      parameters.begin(), parameters.end(),
      [&](const Parameter& parameter) { return parameter.name == condition.parameter; });
  json values = json::array();
  for (const double value : condition.values) {
    if (parent->type == ParameterType::categorical) {
      values.push_back(parent->choices[static_cast<std::size_t>(value)]);
    } else if (parent->type == ParameterType::boolean) {
      values.push_back(value != 0);
    } else {
      values.push_back(static_cast<std::int64_t>(value));
    }
  }
  return {{condition.parameter, values}};
}

}  // namespace

Result<std::vector<Parameter>> parameters_from_json(const json& array, const std::string& pointer) {
  const std::string message = "the search space is not valid";
  if (!array.is_array()) {
    return invalid(message,
                   {{pointer, "has to be an array of parameters, not " + json_type_name(array)}});
  }
  std::vector<Parameter> parameters;
  Problems problems;
  for (std::size_t i = 0; i < array.size(); ++i) {
    parameters.push_back(
        parameter_from_json(array[i], parameters, pointer + "/" + std::to_string(i), problems));
  }
  if (!problems.empty()) return invalid(message, std::move(problems));
  return parameters;
}

json to_json(const std::vector<Parameter>& parameters) {
  json array = json::array();
  for (const Parameter& parameter : parameters) {
    json object{{"name", parameter.name}, {"type", name_of(parameter.type)}};
    const bool bounded =
        parameter.type == ParameterType::real || parameter.type == ParameterType::integer ||
        parameter.type == ParameterType::affine || parameter.type == ParameterType::schedule;
    if (bounded && std::isfinite(parameter.low)) object["low"] = parameter.low;
    if (bounded && std::isfinite(parameter.high)) object["high"] = parameter.high;
    if (parameter.log_scale) object["log"] = true;
    if (!parameter.choices.empty()) object["choices"] = parameter.choices;
    if (parameter.type == ParameterType::subset || parameter.type == ParameterType::schedule) {
      object["least"] = parameter.least;
      object["most"] = parameter.most;
    }
    if (parameter.whole) object["whole"] = true;
    if (!parameter.mask.empty()) object["mask"] = parameter.mask;
    if (parameter.when) object["when"] = condition_json(*parameter.when, parameters);
    if (parameter.type == ParameterType::affine || parameter.type == ParameterType::simplex) {
      object["size"] = parameter.size;
      if (!parameter.labels.empty()) object["labels"] = parameter.labels;
      for (const auto& position : parameter.positions) {
        object["positions"].push_back(position ? json(*position) : json(nullptr));
      }
    }
    array.push_back(std::move(object));
  }
  return array;
}

json candidate_json(const SearchSpace& space, const Point& point) {
  json object = json::object();
  for (std::size_t p = 0; p < space.parameters().size(); ++p) {
    if (space.active(p, point)) object[space.parameters()[p].name] = value_json(space, p, point);
  }
  return object;
}

Result<Point> point_from_json(const SearchSpace& space, const json& object,
                              const std::string& pointer) {
  Problems problems;
  ObjectReader reader(object, pointer, problems);
  // What is not given rests.
  Point point = space.resting();
  const auto& parameters = space.parameters();
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const std::string& name = parameters[p].name;
    // A parameter comes after those that its condition is about, so they have been read.
    if (!space.active(p, point)) {
      if (reader.find(name) != nullptr) {
        reader.refuse(name, "is not active: its condition does not hold");
      }
      continue;
    }
    const json* value = reader.require(name);
    if (value == nullptr) continue;
    std::string problem;
    read_value(space, p, *value, point, problem);
    if (!problem.empty()) reader.refuse(name, std::move(problem));
  }
  reader.refuse_others();
  // Shares that sum to one nearly, steps in another order: as the space writes them.
  if (problems.empty()) {
    Point canonical = space.repair(point);
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      if (parameters[p].type != ParameterType::simplex &&
          parameters[p].type != ParameterType::schedule) {
        continue;
      }
      const auto from = canonical.begin() + static_cast<std::ptrdiff_t>(space.offset(p));
      std::copy_n(from, parameters[p].width(),
                  point.begin() + static_cast<std::ptrdiff_t>(space.offset(p)));
    }
    problems = space.validate(point, pointer);
  }
  if (!problems.empty()) return invalid("the candidate is not valid", std::move(problems));
  return point;
}

Result<std::vector<Objective>> objectives_from_json(const json& array, const std::string& pointer) {
  const std::string message = "the objectives are not valid";
  if (!array.is_array() || array.empty()) {
    return invalid(message, {{pointer, "has to be an array of at least one objective"}});
  }
  std::vector<Objective> objectives;
  Problems problems;
  for (std::size_t i = 0; i < array.size(); ++i) {
    ObjectReader reader(array[i], pointer + "/" + std::to_string(i), problems);
    Objective objective;
    if (reader.require("name") != nullptr) {
      objective.name = reader.string("name").value_or("-");
      const auto same = [&](const Objective& other) { return other.name == objective.name; };
      if (objective.name.empty()) reader.refuse("name", "must not be empty");
      if (std::any_of(objectives.begin(), objectives.end(), same)) {
        reader.refuse("name", "is the name of an earlier objective, too");
      }
    }
    const std::string goal = reader.string("goal").value_or("minimize");
    if (goal != "minimize" && goal != "maximize") {
      reader.refuse("goal", "has to be \"minimize\" or \"maximize\"");
    }
    objective.goal = goal == "maximize" ? Goal::maximize : Goal::minimize;
    reader.refuse_others();
    objectives.push_back(std::move(objective));
  }
  if (!problems.empty()) return invalid(message, std::move(problems));
  return objectives;
}

json to_json(const std::vector<Objective>& objectives) {
  json array = json::array();
  for (const Objective& objective : objectives) {
    array.push_back({{"name", objective.name},
                     {"goal", objective.goal == Goal::maximize ? "maximize" : "minimize"}});
  }
  return array;
}

}  // namespace paretod
