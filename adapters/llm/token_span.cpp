#include "adapters/llm/token_span.hpp"

#include <algorithm>
#include <utility>

namespace paretod::llm {

Result<std::vector<double>> logprobs_of_end(const std::vector<ScoredToken>& tokens,
                                            std::string_view end, bool whole) {
  std::vector<double> out;
  std::size_t covered = 0;
  for (std::size_t i = tokens.size(); i > 0 && covered < end.size(); --i) {
    const ScoredToken& token = tokens[i - 1];
    // Pieces of multi-byte characters may be empty texts; they still count.
    covered += token.text.size();
    if (!token.logprob && whole && i == 1) break;
    if (!token.logprob) {
      return Error{ErrorKind::invalid,
                   "the first token has no log-probability: a continuation needs a context that is "
                   "not empty"};
    }
    out.push_back(*token.logprob);
  }
  if (covered < end.size() && !whole) {
    return Error{ErrorKind::invalid, "the server scored fewer tokens than the continuation has"};
  }
  std::reverse(out.begin(), out.end());
  return out;
}

Result<Completion> with_end(Result<Completion> read, const std::vector<ScoredToken>& tokens,
                            std::string_view end, bool whole) {
  if (!read) return read;
  auto logprobs = logprobs_of_end(tokens, end, whole);
  if (!logprobs) return logprobs.error();
  read->logprobs = std::move(*logprobs);
  return read;
}

}  // namespace paretod::llm
