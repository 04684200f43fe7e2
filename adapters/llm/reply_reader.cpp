#include "adapters/llm/reply_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace paretod::llm {
namespace {

const char* name_of(const JsonNode& value) {
  switch (value.kind()) {
    case JsonNode::Kind::null:
      return "null";
    case JsonNode::Kind::object:
      return "an object";
    case JsonNode::Kind::array:
      return "an array";
    case JsonNode::Kind::string:
      return "a string";
    case JsonNode::Kind::boolean:
      return "a boolean";
    default:
      return "a number";
  }
}

}  // namespace

const JsonNode* ReplyReader::find(std::string_view pointer) const {
  const JsonNode* value = &reply_;
  std::size_t begin = 1;
  while (value != nullptr && begin <= pointer.size()) {
    const std::size_t end = std::min(pointer.find('/', begin), pointer.size());
    const std::string_view token = pointer.substr(begin, end - begin);
    if (value->is_array()) {
      std::size_t index = 0;
      const char* const last = token.data() + token.size();
      const auto [stop, error] = std::from_chars(token.data(), last, index);
      if (error != std::errc() || stop != last) return nullptr;
      value = value->item(index);
    } else {
      value = value->find(token);
    }
    begin = end + 1;
  }
  return value;
}

const JsonNode& ReplyReader::require(std::string_view pointer) {
  static const JsonNode nothing;
  const JsonNode* value = find(pointer);
  if (value != nullptr) return *value;
  blame("it lacks " + std::string(pointer));
  return nothing;
}

std::string ReplyReader::text(std::string_view pointer) {
  const JsonNode& value = require(pointer);
  if (failed() || value.is_null()) return {};
  if (value.is_string()) return std::string(value.text());
  blame(std::string(pointer) + " has to be a string, not " + name_of(value));
  return {};
}

std::string ReplyReader::text_or(std::string_view pointer, std::string_view absent) const {
  const JsonNode* value = find(pointer);
  return std::string(value != nullptr && value->is_string() ? value->text() : absent);
}

std::uint64_t ReplyReader::count(std::string_view pointer) {
  const JsonNode& value = require(pointer);
  return failed() ? 0 : count_of(value, pointer);
}

std::uint64_t ReplyReader::count_or(std::string_view pointer, std::uint64_t absent) {
  const JsonNode* value = find(pointer);
  if (value == nullptr || value->is_null()) return absent;
  return failed() ? 0 : count_of(*value, pointer);
}

std::uint64_t ReplyReader::count_of(const JsonNode& value, std::string_view pointer) {
  if (value.is_count()) return value.count();
  blame(std::string(pointer) + " has to be a whole number that is not negative");
  return 0;
}

double ReplyReader::number(const JsonNode& value, std::string_view where) {
  if (value.is_number() && std::isfinite(value.number())) return value.number();
  blame(std::string(where) + " has to be a finite number, not " + name_of(value));
  return 0;
}

void ReplyReader::blame(const std::string& defect) {
  if (defect_.empty()) defect_ = defect;
}

Error ReplyReader::error() const {
  return {ErrorKind::invalid, "the server's reply cannot be used: " + defect_};
}

}  // namespace paretod::llm
