#include "adapters/llm/reply_reader.hpp"

#include <algorithm>
#include <cmath>

#include "adapters/json/object_reader.hpp"

namespace paretod::llm {

using nlohmann::json;

const json* ReplyReader::find(const std::string& pointer) const {
  // contains() of a JSON pointer throws where an array is asked for a name.
  const json* value = &reply_;
  std::size_t begin = 1;
  while (begin <= pointer.size()) {
    const std::size_t end = std::min(pointer.find('/', begin), pointer.size());
    const std::string token = pointer.substr(begin, end - begin);
    if (value->is_object()) {
      const auto found = value->find(token);
      if (found == value->end()) return nullptr;
      value = &*found;
    } else if (value->is_array() && !token.empty() &&
               token.find_first_not_of("0123456789") == std::string::npos && token.size() < 9 &&
               std::stoul(token) < value->size()) {
      value = &(*value)[std::stoul(token)];
    } else {
      return nullptr;
    }
    begin = end + 1;
  }
  return value;
}

const json& ReplyReader::require(const std::string& pointer) {
  static const json nothing;
  const json* value = find(pointer);
  if (value != nullptr) return *value;
  blame("it lacks " + pointer);
  return nothing;
}

std::string ReplyReader::text(const std::string& pointer) {
  const json& value = require(pointer);
  if (failed() || value.is_null()) return {};
  if (value.is_string()) return value.get<std::string>();
  blame(pointer + " has to be a string, not " + json_type_name(value));
  return {};
}

std::string ReplyReader::text_or(const std::string& pointer, const std::string& absent) const {
  const json* value = find(pointer);
  return value != nullptr && value->is_string() ? value->get<std::string>() : absent;
}

std::uint64_t ReplyReader::count(const std::string& pointer) {
  const json& value = require(pointer);
  if (failed()) return 0;
  if (value.is_number_unsigned() || (value.is_number_integer() && value.get<std::int64_t>() >= 0)) {
    return value.get<std::uint64_t>();
  }
  blame(pointer + " has to be a whole number that is not negative");
  return 0;
}

std::uint64_t ReplyReader::count_or(const std::string& pointer, std::uint64_t absent) {
  const json* value = find(pointer);
  return value == nullptr || value->is_null() ? absent : count(pointer);
}

double ReplyReader::number(const json& value, const std::string& where) {
  if (value.is_number() && std::isfinite(value.get<double>())) return value.get<double>();
  blame(where + " has to be a finite number, not " + json_type_name(value));
  return 0;
}

void ReplyReader::blame(const std::string& defect) {
  if (defect_.empty()) defect_ = defect;
}

Error ReplyReader::error() const {
  return {ErrorKind::invalid, "the server's reply cannot be used: " + defect_};
}

}  // namespace paretod::llm
