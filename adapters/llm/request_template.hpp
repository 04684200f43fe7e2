#pragma once
// A request that is made once and sent many times, with another text in one place each time: most
// of a body (adapters and their weights, sampling) is the same for all examples of a candidate.
// Immutable; any thread.

#include <string>
#include <string_view>
#include <vector>

#include "adapters/llm/dialect.hpp"

namespace paretod::llm {

/// Stand for what will be filled in: a text that is part of one string of the body, or token
/// numbers that are one array of it.
inline constexpr std::string_view text_slot = "<paretod:7d1c5e0b:text>";
inline const std::vector<int> token_slot{-7105};

class RequestTemplate {
 public:
  /// Throws std::logic_error unless the body has exactly one of the slots, once.
  explicit RequestTemplate(const WireRequest& request);

  [[nodiscard]] const std::string& path() const { return path_; }
  /// The body with a text in the slot; the same bytes that the filled document would give.
  [[nodiscard]] std::string body(std::string_view text) const;
  [[nodiscard]] std::string body(const std::vector<int>& tokens, std::size_t count) const;

 private:
  std::string path_;
  std::string before_;
  std::string after_;
};

}  // namespace paretod::llm
