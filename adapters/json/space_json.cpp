#include "adapters/json/space_json.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
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

void read_affine(ObjectReader& reader, Parameter& parameter) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (reader.require("size") != nullptr) {
    parameter.size = static_cast<std::size_t>(reader.count("size").value_or(2));
  }
  parameter.labels = reader.strings("labels").value_or(std::vector<std::string>{});
  read_positions(reader, parameter);
  parameter.low = reader.number("low").value_or(-infinity);
  parameter.high = reader.number("high").value_or(infinity);
}

Parameter parameter_from_json(const json& value, const std::string& pointer, Problems& problems) {
  Parameter parameter;
  ObjectReader reader(value, pointer, problems);
  if (reader.require("name") != nullptr) parameter.name = reader.string("name").value_or("");
  const bool has_type = reader.require("type") != nullptr;
  const auto type_text = reader.string("type");
  if (!has_type || !type_text) return parameter;
  const auto type = parameter_type(*type_text);
  if (!type) {
    reader.refuse("type", "has to be real, integer, categorical, boolean or affine");
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
      if (reader.require("choices") != nullptr) {
        parameter.choices = reader.strings("choices").value_or(std::vector<std::string>{});
      }
      break;
    case ParameterType::boolean:
      break;
    case ParameterType::affine:
      read_affine(reader, parameter);
      break;
  }
  reader.refuse_others();
  return parameter;
}

/// The coordinate of a parameter of one coordinate, or a problem.
std::optional<double> scalar_coordinate(const Parameter& parameter, const json& value,
                                        std::string& problem) {
  switch (parameter.type) {
    case ParameterType::real:
    case ParameterType::integer: {
      if (!value.is_number()) {
        problem = "has to be a number, not " + json_type_name(value);
        return {};
      }
      const auto number = value.get<double>();
      if (parameter.type == ParameterType::integer && number != std::floor(number)) {
        problem = "has to be a whole number";
        return {};
      }
      if (!(number >= parameter.low && number <= parameter.high)) {
        problem = "has to lie in [" + text_of(parameter.low) + ", " + text_of(parameter.high) + "]";
        return {};
      }
      return number;
    }
    case ParameterType::categorical: {
      const auto& choices = parameter.choices;
      const auto found = value.is_string() ? std::find(choices.begin(), choices.end(),
                                                       value.get_ref<const std::string&>())
                                           : choices.end();
      if (found != choices.end()) return static_cast<double>(found - choices.begin());
      problem = "has to be one of:";
      for (const std::string& choice : choices) problem += " \"" + choice + "\"";
      return {};
    }
    case ParameterType::boolean:
      if (value.is_boolean()) return value.get<bool>() ? 1.0 : 0.0;
      problem = "has to be true or false";
      return {};
    case ParameterType::affine:
      break;
  }
  problem = "has no single coordinate";
  return {};
}

std::optional<std::vector<double>> read_coefficients(const Parameter& parameter, const json& value,
                                                     std::string& problem) {
  const bool numbers = value.is_array() && std::all_of(value.begin(), value.end(),
                                                       [](const json& v) { return v.is_number(); });
  if (!numbers || value.size() != parameter.size) {
    problem = "has to be an array of " + std::to_string(parameter.size) + " numbers";
    return {};
  }
  auto coefficients = value.get<std::vector<double>>();
  const double sum = std::accumulate(coefficients.begin(), coefficients.end(), 0.0);
  if (!(std::abs(sum - 1.0) <= 1e-6)) {
    problem = "has to sum to 1, not to " + text_of(sum);
    return {};
  }
  return coefficients;
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
        parameter_from_json(array[i], pointer + "/" + std::to_string(i), problems));
  }
  if (!problems.empty()) return invalid(message, std::move(problems));
  return parameters;
}

json to_json(const std::vector<Parameter>& parameters) {
  json array = json::array();
  for (const Parameter& parameter : parameters) {
    json object{{"name", parameter.name}, {"type", name_of(parameter.type)}};
    const bool bounded = parameter.type == ParameterType::real ||
                         parameter.type == ParameterType::integer ||
                         parameter.type == ParameterType::affine;
    if (bounded && std::isfinite(parameter.low)) object["low"] = parameter.low;
    if (bounded && std::isfinite(parameter.high)) object["high"] = parameter.high;
    if (parameter.log_scale) object["log"] = true;
    if (parameter.type == ParameterType::categorical) object["choices"] = parameter.choices;
    if (parameter.type == ParameterType::affine) {
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
  const auto& parameters = space.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    const double coordinate = point[space.offset(i)];
    json& value = object[parameter.name];
    switch (parameter.type) {
      case ParameterType::real:
        value = coordinate;
        break;
      case ParameterType::integer:
        value = static_cast<std::int64_t>(coordinate);
        break;
      case ParameterType::categorical:
        value = parameter.choices[static_cast<std::size_t>(coordinate)];
        break;
      case ParameterType::boolean:
        value = coordinate != 0.0;
        break;
      case ParameterType::affine:
        value = space.coefficients(i, point);
        break;
    }
  }
  return object;
}

Result<Point> point_from_json(const SearchSpace& space, const json& object,
                              const std::string& pointer) {
  Problems problems;
  ObjectReader reader(object, pointer, problems);
  Point point(space.dimension(), 0.0);
  const auto& parameters = space.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    const json* value = reader.require(parameter.name);
    if (value == nullptr) continue;
    std::string problem;
    if (parameter.type == ParameterType::affine) {
      const auto coefficients = read_coefficients(parameter, *value, problem);
      if (coefficients) space.set_coefficients(i, *coefficients, point);
    } else {
      const auto coordinate = scalar_coordinate(parameter, *value, problem);
      if (coordinate) point[space.offset(i)] = *coordinate;
    }
    if (!problem.empty()) reader.refuse(parameter.name, std::move(problem));
  }
  reader.refuse_others();
  // The bounds of coefficients, and whatever else the space demands of a point.
  if (problems.empty()) problems = space.validate(point, pointer);
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
