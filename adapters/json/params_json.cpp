#include "adapters/json/params_json.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <utility>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/parse.hpp"

namespace paretod {
namespace {

using nlohmann::json;

std::optional<ParamValue> array_from_json(const json& array) {
  std::vector<double> numbers;
  std::vector<std::string> strings;
  for (const json& item : array) {
    if (item.is_number()) {
      numbers.push_back(item.get<double>());
    } else if (item.is_string()) {
      strings.push_back(item.get<std::string>());
    } else {
      return {};
    }
  }
  if (strings.empty()) return numbers;
  if (numbers.empty()) return strings;
  return {};
}

std::optional<ParamValue> scalar_from_json(const json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() >
          static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return value.get<double>();
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  return {};
}

/// A bound as the field's own kind of number.
json bound(double limit, bool whole) {
  return whole ? json(static_cast<std::int64_t>(limit)) : json(limit);
}

json field_schema(const FieldInfo& field) {
  json schema{{"description", field.meaning}, {"default", to_json(field.default_value)}};
  json* leaf = &schema;
  bool whole = false;
  std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, bool>) {
          schema["type"] = "boolean";
        } else if constexpr (std::is_same_v<T, std::int64_t>) {
          schema["type"] = "integer";
          whole = true;
        } else if constexpr (std::is_same_v<T, double>) {
          schema["type"] = "number";
        } else if constexpr (std::is_same_v<T, std::string>) {
          schema["type"] = "string";
        } else {
          schema["type"] = "array";
          leaf = &schema["items"];
          (*leaf)["type"] = std::is_same_v<T, std::vector<double>> ? "number" : "string";
        }
      },
      field.default_value);
  if (std::isfinite(field.low)) (*leaf)["minimum"] = bound(field.low, whole);
  if (std::isfinite(field.high)) (*leaf)["maximum"] = bound(field.high, whole);
  if (!field.choices.empty()) (*leaf)["enum"] = field.choices;
  return schema;
}

/// The declared type's own zero, so that check_field can convert a default to it.
std::optional<ParamValue> zero_of_type(const std::string& type, const std::string& item_type) {
  if (type == "boolean") return false;
  if (type == "integer") return std::int64_t{0};
  if (type == "number") return 0.0;
  if (type == "string") return std::string();
  if (type == "array" && item_type == "number") return std::vector<double>();
  if (type == "array" && item_type == "string") return std::vector<std::string>();
  return {};
}

FieldInfo field_from_json(const std::string& name, const json& value, const std::string& pointer,
                          Problems& problems) {
  FieldInfo field{name, "", false};
  ObjectReader reader(value, pointer, problems);
  field.meaning = reader.string("description").value_or("");
  const bool has_type = reader.require("type") != nullptr;
  const std::string type = reader.string("type").value_or("");
  ObjectReader* limits = &reader;
  std::optional<ObjectReader> items;
  std::string item_type;
  if (const json* nested = reader.find("items"); nested != nullptr) {
    items.emplace(*nested, pointer + "/items", problems);
    item_type = items->string("type").value_or("");
    limits = &*items;
  }
  field.low = limits->number("minimum").value_or(field.low);
  field.high = limits->number("maximum").value_or(field.high);
  field.choices = limits->strings("enum").value_or(std::vector<std::string>{});
  const json* given = reader.require("default");
  const auto zero = zero_of_type(type, item_type);
  if (!zero) {
    if (has_type) {
      reader.refuse("type",
                    "has to be boolean, integer, number, string, or array with items of "
                    "type number or string");
    }
  } else if (given != nullptr) {
    field.default_value = *zero;
    const auto parsed = given->is_array() ? array_from_json(*given) : scalar_from_json(*given);
    const auto checked = parsed ? check_field(field, *parsed)
                                : Result<ParamValue>(invalid("has to be of the declared type"));
    if (checked) {
      field.default_value = *checked;
    } else {
      reader.refuse("default", checked.error().message);
    }
  }
  if (items) items->refuse_others();
  reader.refuse_others();
  return field;
}

}  // namespace

Result<ParamValues> param_values_from_json(const json& object, const std::string& pointer) {
  if (!object.is_object()) {
    return invalid("the parameters are not valid",
                   {{pointer, "has to be an object, not " + json_type_name(object)}});
  }
  ParamValues values;
  Problems problems;
  for (const auto& item : object.items()) {
    auto value =
        item.value().is_array() ? array_from_json(item.value()) : scalar_from_json(item.value());
    if (value) {
      values.emplace(item.key(), std::move(*value));
    } else {
      problems.push_back({pointer + "/" + pointer_token(item.key()),
                          "has to be a boolean, a number, a string, an array of numbers or an "
                          "array of strings"});
    }
  }
  if (!problems.empty()) return invalid("the parameters are not valid", std::move(problems));
  return values;
}

json to_json(const ParamValue& value) {
  return std::visit([](const auto& held) { return json(held); }, value);
}

json to_json(const ParamValues& values) {
  json object = json::object();
  for (const auto& [name, value] : values) object[name] = to_json(value);
  return object;
}

json json_schema(const std::vector<FieldInfo>& fields) {
  json properties = json::object();
  json conditions = json::array();
  for (const FieldInfo& field : fields) {
    const auto& [selector, value] = field.only_with;
    if (selector.empty()) {
      properties[field.name] = field_schema(field);
      continue;
    }
    json condition{{"properties", {{selector, {{"const", value}}}}}};
    // Without the selector its default counts.
    if (properties[selector]["default"] != value) condition["required"] = json::array({selector});
    const bool known = !conditions.empty() && conditions.back()["if"] == condition;
    if (!known) conditions.push_back({{"if", condition}, {"then", {{"properties", {}}}}});
    conditions.back()["then"]["properties"][field.name] = field_schema(field);
  }
  json schema{{"type", "object"}, {"properties", std::move(properties)}};
  if (conditions.empty()) {
    schema["additionalProperties"] = false;
  } else {
    schema["allOf"] = std::move(conditions);
    schema["unevaluatedProperties"] = false;
  }
  return schema;
}

Result<std::vector<FieldInfo>> fields_from_json(const json& properties,
                                                const std::string& pointer) {
  const std::string message = "the declared parameters are not valid";
  if (!properties.is_object()) {
    return invalid(message, {{pointer, "has to be an object of parameters by name, not " +
                                           json_type_name(properties)}});
  }
  std::vector<FieldInfo> fields;
  Problems problems;
  for (const auto& item : properties.items()) {
    fields.push_back(field_from_json(item.key(), item.value(),
                                     pointer + "/" + pointer_token(item.key()), problems));
  }
  if (!problems.empty()) return invalid(message, std::move(problems));
  return fields;
}

}  // namespace paretod
