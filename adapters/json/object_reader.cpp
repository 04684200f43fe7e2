#include "adapters/json/object_reader.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "adapters/json/parse.hpp"

namespace paretod {

using nlohmann::json;

std::string json_type_name(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "an array";
    case json::value_t::string:
      return "a string";
    case json::value_t::boolean:
      return "a boolean";
    default:
      return "a number";
  }
}

ObjectReader::ObjectReader(const json& value, std::string pointer, Problems& problems)
    : pointer_(std::move(pointer)), problems_(problems) {
  if (value.is_object()) {
    object_ = &value;
  } else {
    problems_.push_back({pointer_, "has to be an object, not " + json_type_name(value)});
  }
}

std::string ObjectReader::pointer_to(const std::string& name) const {
  return pointer_ + "/" + pointer_token(name);
}

void ObjectReader::refuse(const std::string& name, std::string message) {
  problems_.push_back({pointer_to(name), std::move(message)});
}

void ObjectReader::refuse_item(const std::string& name, std::size_t index, std::string message) {
  problems_.push_back({pointer_to(name) + "/" + std::to_string(index), std::move(message)});
}

const json* ObjectReader::find(const std::string& name) {
  if (std::find(known_.begin(), known_.end(), name) == known_.end()) known_.push_back(name);
  if (object_ == nullptr) return nullptr;
  const auto found = object_->find(name);
  return found == object_->end() ? nullptr : &*found;
}

const json* ObjectReader::require(const std::string& name) {
  const json* value = find(name);
  if (value == nullptr && object_ != nullptr) refuse(name, "is required");
  return value;
}

std::optional<std::string> ObjectReader::string(const std::string& name) {
  const json* value = find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return value->get<std::string>();
  refuse(name, "has to be a string, not " + json_type_name(*value));
  return {};
}

std::optional<double> ObjectReader::number(const std::string& name) {
  const json* value = find(name);
  if (value == nullptr) return {};
  if (value->is_number()) return value->get<double>();
  refuse(name, "has to be a number, not " + json_type_name(*value));
  return {};
}

std::optional<std::int64_t> ObjectReader::integer(const std::string& name) {
  const json* value = find(name);
  if (value == nullptr) return {};
  constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (value->is_number_unsigned() ? value->get<std::uint64_t>() <= largest
                                  : value->is_number_integer()) {
    return value->get<std::int64_t>();
  }
  refuse(name, "has to be a whole number of at most 64 bits");
  return {};
}

std::optional<std::uint64_t> ObjectReader::count(const std::string& name) {
  const json* value = find(name);
  if (value == nullptr) return {};
  // A value made in the program, not parsed, may be signed though not negative.
  if (value->is_number_unsigned() ||
      (value->is_number_integer() && value->get<std::int64_t>() >= 0)) {
    return value->get<std::uint64_t>();
  }
  refuse(name, "has to be a whole number that is not negative");
  return {};
}

std::optional<bool> ObjectReader::boolean(const std::string& name) {
  const json* value = find(name);
  if (value == nullptr) return {};
  if (value->is_boolean()) return value->get<bool>();
  refuse(name, "has to be true or false, not " + json_type_name(*value));
  return {};
}

std::optional<std::vector<std::string>> ObjectReader::strings(const std::string& name) {
  const json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_array()) {
    refuse(name, "has to be an array of strings, not " + json_type_name(*value));
    return {};
  }
  std::vector<std::string> out;
  for (std::size_t i = 0; i < value->size(); ++i) {
    const json& item = (*value)[i];
    if (!item.is_string()) {
      refuse_item(name, i, "has to be a string, not " + json_type_name(item));
      return {};
    }
    out.push_back(item.get<std::string>());
  }
  return out;
}

void ObjectReader::refuse_others() {
  if (object_ == nullptr) return;
  std::string list;
  for (const std::string& name : known_) list += (list.empty() ? "" : ", ") + name;
  for (const auto& item : object_->items()) {
    if (std::find(known_.begin(), known_.end(), item.key()) == known_.end()) {
      refuse(item.key(), "there is no such field; known: " + list);
    }
  }
}

}  // namespace paretod
