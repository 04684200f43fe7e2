#pragma once
// Which tokens of a scored text belong to its end.  Pure functions.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/llm/dialect.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::llm {

struct ScoredToken {
  std::string text;
  std::optional<double> logprob;  ///< none for the very first token
};

/// Log-probabilities of the tokens that make up `end`, the last part of the text, counted from the
/// back so that special tokens at the front do no harm.  A token that lies across the border counts
/// as part of the end.  `whole`: the end is all of the text, whose first token has none to give.
Result<std::vector<double>> logprobs_of_end(const std::vector<ScoredToken>& tokens,
                                            std::string_view end, bool whole);
/// A completion that was read without defects, with these.
Result<Completion> with_end(Result<Completion> read, const std::vector<ScoredToken>& tokens,
                            std::string_view end, bool whole);

}  // namespace paretod::llm
