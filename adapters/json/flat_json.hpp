#pragma once
// A JSON document as one row of nodes in the order of its text, for what is read once and then
// forgotten: no value has memory of its own, so that a short reply is read in a fraction of the
// time that a tree takes.  Accepts and refuses exactly what parse_json does.
//
// A node's children follow it, each with all that is below it; finding the n-th one is a walk.  The
// document owns the nodes, and its strings are views of the text that was read.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/json/parse.hpp"

namespace paretod {

/// One value.  Reading it as what it is not gives 0, false or "".
class JsonNode {
 public:
  enum class Kind : std::uint8_t { null, boolean, count, integer, real, string, array, object };

  JsonNode() : count_(0) {}
  // A copy would lose its children; only the row may move.
  JsonNode(JsonNode&&) = default;
  JsonNode& operator=(JsonNode&&) = default;

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] bool is_null() const { return kind_ == Kind::null; }
  [[nodiscard]] bool is_string() const { return kind_ == Kind::string; }
  [[nodiscard]] bool is_array() const { return kind_ == Kind::array; }
  [[nodiscard]] bool is_object() const { return kind_ == Kind::object; }
  [[nodiscard]] bool is_number() const { return is_whole() || kind_ == Kind::real; }
  [[nodiscard]] bool is_whole() const { return kind_ == Kind::count || kind_ == Kind::integer; }
  /// Whole and not negative.
  [[nodiscard]] bool is_count() const {
    return kind_ == Kind::count || (kind_ == Kind::integer && integer_ >= 0);
  }

  [[nodiscard]] std::string_view text() const { return is_string() ? text_ : std::string_view(); }
  [[nodiscard]] bool is_true() const { return kind_ == Kind::boolean && count_ != 0; }
  [[nodiscard]] double number() const;
  [[nodiscard]] std::uint64_t count() const { return is_count() ? count_ : 0; }
  /// Of a whole number that fits.
  [[nodiscard]] std::int64_t integer() const {
    const bool fits = kind_ == Kind::integer || (kind_ == Kind::count && integer_ >= 0);
    return fits ? integer_ : 0;
  }

  /// Of a member of an object.
  [[nodiscard]] std::string_view key() const { return key_; }
  /// Children.
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Null if it has none of that name, or is no object.
  [[nodiscard]] const JsonNode* find(std::string_view key) const;
  /// Null beyond the last one, or if it is no array.
  [[nodiscard]] const JsonNode* item(std::size_t index) const;

  class Iterator {
   public:
    explicit Iterator(const JsonNode* at) : at_(at) {}
    const JsonNode& operator*() const { return *at_; }
    const JsonNode* operator->() const { return at_; }
    Iterator& operator++() {
      at_ += at_->span_;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const JsonNode* at_;
  };
  class Range {
   public:
    Range() = default;
    Range(const JsonNode* begin, const JsonNode* end) : begin_(begin), end_(end) {}
    [[nodiscard]] Iterator begin() const { return Iterator(begin_); }
    [[nodiscard]] Iterator end() const { return Iterator(end_); }

   private:
    const JsonNode* begin_ = nullptr;
    const JsonNode* end_ = nullptr;
  };
  /// Empty unless it is an array.
  [[nodiscard]] Range items() const { return is_array() ? children() : Range(); }
  /// Empty unless it is an object.
  [[nodiscard]] Range members() const { return is_object() ? children() : Range(); }

 private:
  friend class FlatJson;
  [[nodiscard]] Range children() const { return {this + 1, this + span_}; }

  Kind kind_ = Kind::null;
  std::uint32_t size_ = 0;
  std::uint32_t span_ = 1;  ///< nodes, itself and all that is below it
  std::string_view key_;
  union {
    std::uint64_t count_;  // also of a boolean
    std::int64_t integer_;
    double real_;
    std::string_view text_;
  };
};

class FlatJson {
 public:
  FlatJson() : nodes_(1) {}
  /// Of a tree.
  explicit FlatJson(const nlohmann::json& tree);
  FlatJson(FlatJson&&) = default;
  FlatJson& operator=(FlatJson&&) = default;
  FlatJson(const FlatJson&) = delete;
  FlatJson& operator=(const FlatJson&) = delete;

  /// Forgets what was read before, and keeps its memory.  The text has to last as long as what is
  /// read.  Errors: those of parse_json; the document is then null.
  Result<void> read(std::string_view text, const JsonLimits& limits = {});
  [[nodiscard]] const JsonNode& root() const { return nodes_.front(); }

 private:
  class Row;
  void add(const nlohmann::json& value);

  std::vector<JsonNode> nodes_;
  std::deque<std::string> unescaped_;  ///< strings that are not in the text as they are meant
};

}  // namespace paretod
