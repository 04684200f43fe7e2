#include "optimizers/core/params.hpp"

#include <algorithm>
#include <sstream>

namespace paretod {
namespace {

const char* type_name(const ParamValue& value) {
  constexpr const char* names[] = {"true or false", "a whole number",    "a number",
                                   "a string",      "a list of numbers", "a list of strings"};
  return names[value.index()];
}

std::string range_text(const FieldInfo& field) {
  std::ostringstream text;
  if (std::isfinite(field.low) && std::isfinite(field.high)) {
    text << "must be between " << field.low << " and " << field.high;
  } else if (std::isfinite(field.low)) {
    text << "must be at least " << field.low;
  } else {
    text << "must be at most " << field.high;
  }
  return text.str();
}

}  // namespace

Result<ParamValue> check_field(const FieldInfo& field, const ParamValue& given) {
  ParamValue value = given;
  if (std::holds_alternative<double>(field.default_value) &&
      std::holds_alternative<std::int64_t>(value)) {
    value = static_cast<double>(std::get<std::int64_t>(value));
  }
  // An empty list carries no element type.
  if (const auto* numbers = std::get_if<std::vector<double>>(&value);
      numbers != nullptr && numbers->empty() &&
      std::holds_alternative<std::vector<std::string>>(field.default_value)) {
    value = std::vector<std::string>{};
  }
  if (value.index() != field.default_value.index()) {
    return invalid(std::string("must be ") + type_name(field.default_value));
  }
  const auto in_range = [&field](double x) { return x >= field.low && x <= field.high; };
  bool inside = true;
  if (const auto* whole = std::get_if<std::int64_t>(&value)) {
    inside = in_range(static_cast<double>(*whole));
  } else if (const auto* number = std::get_if<double>(&value)) {
    if (!std::isfinite(*number)) return invalid("must be finite");
    inside = in_range(*number);
  } else if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
    inside = std::all_of(numbers->begin(), numbers->end(),
                         [&](double x) { return std::isfinite(x) && in_range(x); });
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    if (!field.choices.empty() &&
        std::find(field.choices.begin(), field.choices.end(), *text) == field.choices.end()) {
      std::string known;
      for (const std::string& choice : field.choices) known += (known.empty() ? "" : ", ") + choice;
      return invalid("must be one of: " + known);
    }
  }
  if (!inside) return invalid(range_text(field));
  return value;
}

}  // namespace paretod
