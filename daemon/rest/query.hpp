#pragma once
// Query parameters of an operation: declared once, from which come both the strict reading of a
// request and the OpenAPI document.  Pure functions; any thread.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/rest/http_message.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

struct QueryField {
  enum class Kind { text, integer, choice, flag };
  std::string name;
  Kind kind = Kind::text;
  std::string meaning;
  std::int64_t low = 0;   ///< integers only
  std::int64_t high = 0;  ///< integers only
  bool clamped = false;   ///< an integer above `high` is taken as `high` instead of refused
  std::vector<std::string> choices = {};
  bool repeatable = false;  ///< may be given several times

  static QueryField text(std::string name, std::string meaning);
  static QueryField integer(std::string name, std::string meaning, std::int64_t low,
                            std::int64_t high);
  static QueryField choice(std::string name, std::string meaning, std::vector<std::string> choices);
  /// "?name", "?name=true" or "?name=false".
  static QueryField flag(std::string name, std::string meaning);
};

class QueryValues {
 public:
  [[nodiscard]] std::optional<std::string> text(std::string_view name) const;
  /// Of a repeatable field, in the order sent.
  [[nodiscard]] std::vector<std::string> texts(std::string_view name) const;
  [[nodiscard]] bool flag(std::string_view name) const;
  [[nodiscard]] std::int64_t integer(std::string_view name, std::int64_t fallback) const;

 private:
  friend Result<QueryValues> read_query(const std::vector<QueryField>&, const NameValues&);
  std::multimap<std::string, std::string, std::less<>> texts_;
  std::map<std::string, std::int64_t, std::less<>> integers_;
};

/// Refuses what is unknown, repeated, empty, malformed or out of range; each problem points at
/// "/query/<name>".
Result<QueryValues> read_query(const std::vector<QueryField>& fields, const NameValues& query);

/// The two parameters of every list.
std::vector<QueryField> page_fields();
inline constexpr std::int64_t default_page_size = 100;
inline constexpr std::int64_t max_page_size = 500;

}  // namespace paretod
