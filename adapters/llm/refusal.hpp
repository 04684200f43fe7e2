#pragma once
// What a reply that is no success means for the request: wait, try again, or give up.  After the
// retry rules of openai-python (_base_client.py) and the error shapes of llama.cpp, LoRAX, vLLM,
// SGLang and OpenAI.  Pure functions.

#include <optional>
#include <string>

#include "adapters/http/http_client.hpp"

namespace paretod::llm {

enum class RefusalKind {
  throttled,   ///< too many requests: ask again later, and ask less
  overloaded,  ///< the server has enough to do, or is still loading: ask again later
  broken,      ///< its own fault: worth a few more tries
  quota,       ///< no credit is left; asking again is pointless until a person did something
  refused,     ///< the request is wrong, or not allowed
};

struct Refusal {
  RefusalKind kind = RefusalKind::refused;
  std::string message;                  ///< of the server, at most 500 bytes, printable ASCII
  std::optional<double> retry_after_s;  ///< as the headers say; not negative
};

/// Of a reply with any status but 2xx.
Refusal refusal_of(const HttpReply& reply);

}  // namespace paretod::llm
