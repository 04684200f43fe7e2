#pragma once
// What an error reply of Redis means for a writer (research: redis-log.md rule 7), and how it is
// told to a person.

#include <string>
#include <string_view>

#include "adapters/redis/redis_address.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// The commands and keys that paretod needs, as Redis ACL rules: "~pd:* +xadd ...".
std::string redis_acl_rules(std::string_view prefix);

class RedisRefusal {
 public:
  enum class Meaning {
    try_later,  ///< the server's state; passes by itself or when the operator helps
    id_taken,   ///< the log has grown up to or past the id: see what it holds
    final,      ///< no retry can help
  };

  explicit RedisRefusal(std::string reply);

  [[nodiscard]] Meaning meaning() const { return meaning_; }
  /// "Redis at ... refuses: ...", with the remedy.  Kind: unavailable for try_later, else denied,
  /// corrupt or internal.
  [[nodiscard]] Error error(const RedisAddress& address) const;

 private:
  [[nodiscard]] std::string_view code() const;

  std::string reply_;
  Meaning meaning_;
};

}  // namespace paretod
