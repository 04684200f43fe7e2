#pragma once
// How replies become numbers.  A scorer says what it needs, so that a server that cannot give it is
// refused before anything is paid; then it scores one example at a time.  After
// lm-evaluation-harness (lm_eval/api/{task,metrics}.py).  Pure functions.
//
//   gold_nll             minus log-probability of the gold answer, per token          scored text
//   perplexity           the same of the prompt and answer as one text, per token     scored text
//   choice_loglik        1 where the gold choice has the largest log-probability, as it is or
//                        divided by characters, bytes, or less its log-probability without
//                        a question ("normalise": "none|chars|bytes|mutual")          scored text
//   choice_first_token   1 where the gold choice's first letter is the likeliest      alternatives
//   exact_match          1 where the text is the answer                               text
//   numeric              1 where the last number of the text is the answer's          text
//   token_f1             F1 of the words                                              text
//   set_f1               F1 of the items of two lists: JSON arrays, else separated by ";" or lines
//   contains             1 where the answer is in the text                            text
//   json_valid           1 where the text is JSON                                     text
//   bleu, chrf           of the text and the answer (text_metrics.hpp)                text
//
// Texts are compared after "normalise": any of lower, punctuation, numbers, articles, space.  With
// a "pattern" the text is what it finds first, or the group in it; where it finds nothing, 0.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "adapters/llm/dialect.hpp"
#include "evaluators/llm/dataset.hpp"
#include "optimizers/core/result.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod::llm {

/// What is asked about one example.
struct Needs {
  bool text = false;          ///< one generation
  bool alternatives = false;  ///< of its first token
  bool gold = false;          ///< log-probabilities of the answer
  bool whole = false;         ///< ... of everything
  bool choices = false;       ///< ... of each choice
  bool bare_choices = false;  ///< ... of each choice without a question

  Needs& operator|=(const Needs& other);
  [[nodiscard]] bool scored_text() const { return gold || whole || choices || bare_choices; }
};

/// What came back; empty where it was not asked for.
struct Replies {
  std::optional<Completion> generation;
  std::optional<Completion> gold;
  std::optional<Completion> whole;
  std::vector<Completion> choices;
  std::vector<Completion> bare_choices;
};

/// A value, and how much it weighs in the mean: the number of tokens for likelihoods, else 1.
struct Score {
  double value = 0;
  double weight = 1;
};

class Scorer {
 public:
  /// Errors point below "": "/scorer", "/normalise", "/pattern".
  static Result<Scorer> make(const std::string& name, const std::vector<std::string>& normalise,
                             const std::string& pattern);

  [[nodiscard]] Needs needs() const;
  [[nodiscard]] bool needs_choices() const {
    return needs().choices || name_ == "choice_first_token";
  }
  /// Likelihoods are losses, the others shares of success.
  [[nodiscard]] Goal goal() const;
  /// The replies that needs() says are there.
  [[nodiscard]] Score score(const Example& example, const Replies& replies) const;

 private:
  [[nodiscard]] bool has(const std::string& rule) const;
  [[nodiscard]] std::string normalised(const std::string& text) const;
  [[nodiscard]] std::size_t best_choice(const Example& example, const Replies& replies) const;
  [[nodiscard]] std::size_t first_letter(const Example& example, const Replies& replies) const;
  [[nodiscard]] std::optional<std::string> found_in(const std::string& text) const;
  [[nodiscard]] double text_score(const Example& example, const std::string& whole) const;

  std::string name_;
  std::vector<std::string> normalise_;
  std::string pattern_;
};

/// Words and numbers of texts, for scorers; "" and nothing where there is none.
std::optional<double> last_number(const std::string& text);
double f1_of(std::vector<std::string> found, std::vector<std::string> wanted);

}  // namespace paretod::llm
