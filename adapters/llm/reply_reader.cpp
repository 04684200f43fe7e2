#include "adapters/llm/reply_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "adapters/json/object_reader.hpp"

namespace paretod::llm {

using nlohmann::json;

const json* ReplyReader::find(std::string_view pointer) const {
  // contains() of a JSON pointer throws where an array is asked for a name.
  const json* value = &reply_;
  std::size_t begin = 1;
  while (begin <= pointer.size()) {
    const std::size_t end = std::min(pointer.find('/', begin), pointer.size());
    const std::string_view token = pointer.substr(begin, end - begin);
    if (value->is_object()) {
      const auto found = value->find(token);
      if (found == value->end()) return nullptr;
      value = &*found;
    } else if (value->is_array()) {
      std::size_t index = 0;
      const char* const last = token.data() + token.size();
      const auto [stop, error] = std::from_chars(token.data(), last, index);
      if (error != std::errc() || stop != last || index >= value->size()) return nullptr;
      value = &(*value)[index];
    } else {
      return nullptr;
    }
    begin = end + 1;
  }
  return value;
}

const json& ReplyReader::require(std::string_view pointer) {
  static const json nothing;
  const json* value = find(pointer);
  if (value != nullptr) return *value;
  blame("it lacks " + std::string(pointer));
  return nothing;
}

std::string ReplyReader::text(std::string_view pointer) {
  const json& value = require(pointer);
  if (failed() || value.is_null()) return {};
  if (value.is_string()) return value.get<std::string>();
  blame(std::string(pointer) + " has to be a string, not " + json_type_name(value));
  return {};
}

std::string ReplyReader::text_or(std::string_view pointer, std::string_view absent) const {
  const json* value = find(pointer);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string(absent);
}

std::uint64_t ReplyReader::count(std::string_view pointer) {
  const json& value = require(pointer);
  if (failed()) return 0;
  if (value.is_number_unsigned() || (value.is_number_integer() && value.get<std::int64_t>() >= 0)) {
    return value.get<std::uint64_t>();
  }
  blame(std::string(pointer) + " has to be a whole number that is not negative");
  return 0;
}

std::uint64_t ReplyReader::count_or(std::string_view pointer, std::uint64_t absent) {
  const json* value = find(pointer);
  return value == nullptr || value->is_null() ? absent : count(pointer);
}

double ReplyReader::number(const json& value, std::string_view where) {
  if (value.is_number() && std::isfinite(value.get<double>())) return value.get<double>();
  blame(std::string(where) + " has to be a finite number, not " + json_type_name(value));
  return 0;
}

void ReplyReader::blame(const std::string& defect) {
  if (defect_.empty()) defect_ = defect;
}

Error ReplyReader::error() const {
  return {ErrorKind::invalid, "the server's reply cannot be used: " + defect_};
}

}  // namespace paretod::llm
