#include "adapters/json/parse.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "adapters/json/quick_parse.hpp"

namespace paretod {
namespace {

using nlohmann::json;

std::string printable(std::string_view text) {
  std::string out(text.substr(0, 200));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

/// "line 3, column 7" of a byte offset that counts from 1.
std::string place_of(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, byte > 0 ? byte - 1 : 0);
  const std::size_t newline = before.rfind('\n');
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t column =
      newline == std::string_view::npos ? before.size() + 1 : before.size() - newline;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

/// Builds the document while counting, so that nothing is allocated beyond the limits.
class Builder final : public nlohmann::json_sax<json> {
 public:
  Builder(std::string_view text, const JsonLimits& limits) : text_(text), limits_(limits) {}

  bool null() override { return add(nullptr) != nullptr; }
  bool boolean(bool value) override { return add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override {
    return add(value) != nullptr;
  }
  bool string(string_t& value) override {
    if (value.size() > limits_.string_bytes) return refuse(string_message("string"));
    return add(std::move(value)) != nullptr;
  }
  bool binary(binary_t&) override { return refuse("binary values are not JSON"); }

  bool start_object(std::size_t) override { return open(json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    if (value.size() > limits_.string_bytes) return refuse(string_message("key"));
    key_ = std::move(value);
    if (open_.back()->contains(key_)) {
      return refuse("the key appears twice", pointer() + "/" + printable(pointer_token(key_)));
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // The library's text reads "[id] parse error at line 1, column 2: what is wrong".
    std::string_view what = error.what();
    if (const auto bracket = what.find("] "); bracket != std::string_view::npos) {
      what.remove_prefix(bracket + 2);
    }
    if (what.starts_with("parse error at ")) what.remove_prefix(what.find(": ") + 2);
    error_ = invalid("not valid JSON at " + place_of(text_, position) + ": " + printable(what));
    return false;
  }

  Result<json> finish(bool complete) && {
    if (!complete) return std::move(error_);
    return std::move(root_);
  }

 private:
  json* add(json value) {
    if (++nodes_ > limits_.nodes) {
      refuse("more than " + std::to_string(limits_.nodes) + " values");
      return nullptr;
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }
  bool open(json container) {
    if (open_.size() >= limits_.depth) {
      return refuse("nested deeper than " + std::to_string(limits_.depth) + " levels");
    }
    json* added = add(std::move(container));
    if (added == nullptr) return false;
    if (!open_.empty()) path_.push_back(open_.back()->is_object() ? key_ : std::string());
    open_.push_back(added);
    return true;
  }
  bool close() {
    open_.pop_back();
    if (!path_.empty()) path_.pop_back();
    return true;
  }

  /// Pointer of the innermost open container.  A container stays its parent's last child while it
  /// is open, so array indices need not be tracked.
  std::string pointer() const {
    std::string out;
    for (std::size_t i = 0; i < path_.size(); ++i) {
      const json& parent = *open_[i];
      out += '/';
      out += parent.is_array() ? std::to_string(parent.size() - 1)
                               : printable(pointer_token(path_[i]));
    }
    return out;
  }
  std::string string_message(const char* what) const {
    return std::string("a ") + what + " is longer than " + std::to_string(limits_.string_bytes) +
           " bytes";
  }
  bool refuse(std::string message) { return refuse(std::move(message), pointer()); }
  bool refuse(std::string message, std::string where) {
    error_ = invalid("the JSON document is not accepted", {{std::move(where), std::move(message)}});
    return false;
  }

  std::string_view text_;
  const JsonLimits& limits_;
  json root_;
  std::vector<json*> open_;
  std::vector<std::string> path_;  // per open container but the outermost: its key, "" in arrays
  std::string key_;
  std::size_t nodes_ = 0;
  Error error_;
};

}  // namespace

Result<nlohmann::json> parse_json(std::string_view text, const JsonLimits& limits) {
  if (auto document = parse_json_quickly(text, limits)) return std::move(*document);
  Builder builder(text, limits);
  const bool complete = json::sax_parse(text, &builder);
  return std::move(builder).finish(complete);
}

std::string pointer_token(std::string_view key) {
  std::string out;
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace paretod
