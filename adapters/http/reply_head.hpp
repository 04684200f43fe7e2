#pragma once
// The head of a reply, taken line by line as libcurl hands it out.  Its end has to be seen: of a
// connection that breaks within the head, libcurl makes a success without a body.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace paretod {

using HeaderFields = std::vector<std::pair<std::string, std::string>>;

class ReplyHead {
 public:
  /// `max_bytes` is of all lines together.
  explicit ReplyHead(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  /// False once there is more than is accepted.
  bool add(std::string_view line);
  /// The empty line that ends it has come.
  [[nodiscard]] bool complete() const { return complete_; }
  /// Names in lower case; of the final reply, when interim ones came before.
  HeaderFields take_fields() { return std::move(fields_); }

 private:
  std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  bool complete_ = false;
  HeaderFields fields_;
};

}  // namespace paretod
