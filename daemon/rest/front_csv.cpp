#include "daemon/rest/front_csv.hpp"

#include <nlohmann/json.hpp>

#include "adapters/json/space_json.hpp"
#include "daemon/jobs/front_query.hpp"
#include "daemon/rest/snapshot.hpp"

namespace paretod {
namespace {

using nlohmann::json;

std::string csv_cell(const json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return csv_field(value.get_ref<const std::string&>());
  if (value.is_number_float()) return shortest(value.get<double>());
  return csv_field(value.dump());
}

/// Coefficients and shares get a column each; other lists stay in one cell, as JSON.
bool has_column_per_item(const Parameter& parameter) {
  return parameter.type == ParameterType::affine || parameter.type == ParameterType::simplex;
}

}  // namespace

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += c;
    if (c == '"') quoted += c;
  }
  return quoted + "\"";
}

std::string csv_parameter_names(const SearchSpace& space) {
  std::string line;
  for (const Parameter& parameter : space.parameters()) {
    if (!has_column_per_item(parameter)) {
      line += "," + csv_field(parameter.name);
      continue;
    }
    for (std::size_t i = 0; i < parameter.size; ++i) {
      line += "," + csv_field(parameter.name + "[" + std::to_string(i) + "]");
    }
  }
  return line;
}

std::string csv_parameters(const SearchSpace& space, const Point& point) {
  std::string line;
  const json candidate = candidate_json(space, point);
  for (const Parameter& parameter : space.parameters()) {
    const auto value = candidate.find(parameter.name);
    const bool active = value != candidate.end();
    if (!has_column_per_item(parameter)) {
      line += "," + (active ? csv_cell(*value) : "");
      continue;
    }
    for (std::size_t i = 0; i < parameter.size; ++i) {
      line += "," + (active ? csv_cell((*value)[i]) : "");
    }
  }
  return line;
}

std::string csv_header(const JobSpec& spec, const FrontQuery& query) {
  std::string line = "trial" + csv_parameter_names(spec.space);
  for (const Objective& objective : spec.objectives) {
    line += "," + csv_field(objective.name) + "," + csv_field(objective.name + "_stderr");
  }
  line += ",replicates";
  if (query.confidence > 0) line += ",on_front";
  if (query.chooses()) line += ",chosen";
  return line + "\r\n";
}

std::string csv_line(const FrontPoint& point, const JobSpec& spec) {
  std::string line =
      std::to_string(point.trial) + csv_parameters(spec.space, point.candidate.point);
  for (const Measurement& measurement : point.objectives) {
    line += "," + shortest(measurement.value) + ",";
    if (measurement.has_error()) line += shortest(measurement.standard_error);
  }
  return line + "," + std::to_string(point.replicates);
}

}  // namespace paretod
