#include "adapters/mergekit/mergekit_config.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

namespace paretod {
namespace {

/// Double-quoted strings of YAML take the escapes of JSON.
std::string quoted_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string number_text(double value) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  // YAML 1.1 takes a number without a point for text once it has an exponent.
  if (text.find('.') == std::string::npos) {
    const auto exponent = text.find('e');
    text.insert(exponent == std::string::npos ? text.size() : exponent, ".0");
  }
  return text;
}

std::string value_text(const std::variant<bool, double>& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  return number_text(std::get<double>(value));
}

void write(const std::vector<MergekitSetting>& settings, const std::string& indent,
           std::string& out) {
  for (const MergekitSetting& setting : settings) {
    out += indent + setting.name + ":";
    if (setting.entries.size() == 1 && !setting.entries[0].filter) {
      out += " " + value_text(setting.entries[0].value) + "\n";
      continue;
    }
    out += "\n";
    for (const MergekitSetting::Entry& entry : setting.entries) {
      out += indent + "  - ";
      if (entry.filter) out += "filter: " + quoted_text(*entry.filter) + "\n" + indent + "    ";
      out += "value: " + value_text(entry.value) + "\n";
    }
  }
}

}  // namespace

std::string to_yaml(const MergekitConfig& config) {
  std::string out;
  for (const std::string& comment : config.comments) out += "# " + comment + "\n";
  out += "merge_method: " + config.merge_method + "\n";
  if (!config.base_model.empty()) out += "base_model: " + quoted_text(config.base_model) + "\n";
  out += "models:\n";
  for (const MergekitConfig::Model& model : config.models) {
    out += "  - model: " + quoted_text(model.path) + "\n";
    if (model.parameters.empty()) continue;
    out += "    parameters:\n";
    write(model.parameters, "      ", out);
  }
  if (!config.parameters.empty()) {
    out += "parameters:\n";
    write(config.parameters, "  ", out);
  }
  if (!config.dtype.empty()) out += "dtype: " + config.dtype + "\n";
  if (!config.out_dtype.empty()) out += "out_dtype: " + config.out_dtype + "\n";
  return out;
}

}  // namespace paretod
