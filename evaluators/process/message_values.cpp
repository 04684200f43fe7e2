#include "evaluators/process/message_values.hpp"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "adapters/json/object_reader.hpp"

namespace paretod {

using nlohmann::json;

namespace {

/// The field's value; null where it is absent or says null, as many writers do for "none".
const json* value_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool is_whole(const json& value) {
  return value.is_number_unsigned() &&
         value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()};
}

Error not_whole(const std::string& what) {
  return invalid(what + " to be a whole number that is not negative");
}

}  // namespace

Error not_finite(const std::string& what, const std::string& name, const json& value) {
  return invalid(
      what + " \"" + name + "\" has to be a finite number, not " +
      (value.is_string() ? value.get<std::string>().substr(0, 64) : json_type_name(value)));
}

Result<Measurement> measurement_from_json(const std::string& objective, const json& value) {
  Measurement measurement;
  if (value.is_number()) {
    measurement.value = value.get<double>();
    return measurement;
  }
  if (!value.is_object()) return not_finite("objective", objective, value);
  const auto number = value.find("value");
  if (number == value.end() || !number->is_number()) {
    return not_finite("objective", objective, number == value.end() ? value : *number);
  }
  measurement.value = number->get<double>();
  if (const json* error = value_of(value, "stderr")) {
    if (!error->is_number() || error->get<double>() < 0) {
      return invalid("the stderr of objective \"" + objective +
                     "\" has to be a number that is not negative");
    }
    measurement.standard_error = error->get<double>();
  }
  if (const json* count = value_of(value, "n")) {
    if (!is_whole(*count)) return not_whole("the n of objective \"" + objective + "\" has");
    measurement.count = count->get<std::uint64_t>();
  }
  return measurement;
}

Result<ExampleValues> examples_from_json(const json& value) {
  if (!value.is_object()) {
    return invalid("\"examples\" has to be an object of arrays by name of the objective");
  }
  ExampleValues examples;
  for (const auto& item : value.items()) {
    const json& list = item.value();
    const std::string what = "the examples of objective \"" + item.key() + "\"";
    if (!list.is_array()) return invalid(what + " have to be an array of numbers");
    if (list.size() > most_examples) {
      return invalid(what + " are " + std::to_string(list.size()) + ", and at most " +
                     std::to_string(most_examples) + " are kept; report fewer");
    }
    std::vector<float>& values = examples[item.key()];
    for (const json& number : list) {
      values.push_back(number.is_number() ? number.get<float>()
                                          : std::numeric_limits<float>::quiet_NaN());
      if (!std::isfinite(values.back())) {
        return invalid(what + " have to be finite numbers; number " +
                       std::to_string(values.size()) + " is not");
      }
    }
  }
  return examples;
}

Result<ReportedCost> cost_from_json(const json& value) {
  if (!value.is_object()) return invalid("\"cost\" has to be an object");
  ReportedCost cost;
  if (const json* seconds = value_of(value, "seconds")) {
    if (!seconds->is_number() || seconds->get<double>() < 0) {
      return invalid("the seconds of \"cost\" have to be a number that is not negative");
    }
    cost.seconds = seconds->get<double>();
  }
  if (const json* tokens = value_of(value, "tokens")) {
    if (!is_whole(*tokens)) return not_whole("the tokens of \"cost\" have");
    cost.tokens = tokens->get<std::uint64_t>();
  }
  if (const json* money = value_of(value, "money_micros")) {
    if (!is_whole(*money)) return not_whole("the money_micros of \"cost\" have");
    cost.money_micros = money->get<std::int64_t>();
  }
  return cost;
}

}  // namespace paretod
