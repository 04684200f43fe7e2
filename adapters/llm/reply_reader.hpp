#pragma once
// Reads fields of a server's reply, of which nothing is certain.  The first defect is kept; after
// it every field reads as absent.  Lives on the stack of one parsing function.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/json/flat_json.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::llm {

class ReplyReader {
 public:
  explicit ReplyReader(const JsonNode& reply) : reply_(reply) {}
  /// Of a tree, which is copied.
  explicit ReplyReader(const nlohmann::json& reply) : copy_(reply), reply_(copy_->root()) {}
  ReplyReader(const ReplyReader&) = delete;
  ReplyReader& operator=(const ReplyReader&) = delete;

  /// The value at a JSON pointer, or null; its absence is no defect.
  [[nodiscard]] const JsonNode* find(std::string_view pointer) const;
  /// Its absence is a defect.
  const JsonNode& require(std::string_view pointer);

  std::string text(std::string_view pointer);     ///< required; null reads as ""
  std::uint64_t count(std::string_view pointer);  ///< required
  std::uint64_t count_or(std::string_view pointer, std::uint64_t absent);
  [[nodiscard]] std::string text_or(std::string_view pointer, std::string_view absent) const;
  /// A finite number at a value that was found; `where` names it.
  double number(const JsonNode& value, std::string_view where);

  void blame(const std::string& defect);
  [[nodiscard]] bool failed() const { return !defect_.empty(); }
  [[nodiscard]] Error error() const;
  /// What was read, unless something was wrong with it.
  template <class T>
  [[nodiscard]] Result<T> checked(T value) const {
    if (failed()) return error();
    return value;
  }

 private:
  std::uint64_t count_of(const JsonNode& value, std::string_view pointer);

  std::optional<FlatJson> copy_;
  const JsonNode& reply_;
  std::string defect_;
};

}  // namespace paretod::llm
