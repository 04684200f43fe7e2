#pragma once
// Reads one JSON object field by field and collects every problem, each with its pointer.  The
// fields that were asked for are the ones that exist: refuse_others() names them.  Lives on the
// stack of one parsing function; the JSON value and the problem list must outlive it.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "optimizers/core/result.hpp"

namespace paretod {

class ObjectReader {
 public:
  /// A value that is not an object is a problem; every field then reads as absent.
  ObjectReader(const nlohmann::json& value, std::string pointer, Problems& problems);

  /// The field's value, or null when absent.
  const nlohmann::json* find(const std::string& name);
  /// Likewise, but absence is a problem.
  const nlohmann::json* require(const std::string& name);

  // Absent: empty without a problem.  Of another type: empty with a problem.
  std::optional<std::string> string(const std::string& name);
  std::optional<double> number(const std::string& name);
  std::optional<std::int64_t> integer(const std::string& name);
  std::optional<std::uint64_t> count(const std::string& name);  ///< whole and not negative
  std::optional<bool> boolean(const std::string& name);
  std::optional<std::vector<std::string>> strings(const std::string& name);

  /// Adds a problem that points at a field.
  void refuse(const std::string& name, std::string message);
  /// Likewise at one item of an array.
  void refuse_item(const std::string& name, std::size_t index, std::string message);
  /// Call last: every field that was never asked for is a problem.
  void refuse_others();

  [[nodiscard]] bool is_object() const { return object_ != nullptr; }
  [[nodiscard]] std::string pointer_to(const std::string& name) const;

 private:
  const nlohmann::json* object_ = nullptr;
  std::string pointer_;
  Problems& problems_;
  std::vector<std::string> known_;
};

/// "a number", "a string", ...: what a message calls the type of a value.
std::string json_type_name(const nlohmann::json& value);

}  // namespace paretod
