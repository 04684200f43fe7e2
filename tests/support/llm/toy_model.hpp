#pragma once
// A small language model that can really be merged, for tests of everything around it: a softmax
// over a few dozen words from a decaying sum of word embeddings through two linear modules, and
// low-rank adapters on both.  What the adapters are good for is planted: gold answers come from a
// teacher that is the merge of the pool at known coefficients, so the quality of a search is
// measurable.
//
//   x = sum over the last tokens of 0.6^age E[token];  h = (I + dM) x;  logits = (H + dH) h
//
// Useful adapters have a positive coefficient in the teacher, harmful ones a negative one, useless
// ones none.  The large entries of every A carry the skill; the small ones are noise that the
// teacher does not have, so keeping only the largest share of A's entries helps.
//
// Written apart from adapters/llm and in another way (double precision, sorting), so that the two
// check each other.  Immutable after construction; any thread.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace paretod::testing {

using TokenIds = std::vector<int>;

struct ToyOptions {
  std::uint64_t seed = 1;
  std::size_t useful = 3;
  std::size_t useless = 3;
  std::size_t harmful = 1;
  bool factor_space = true;  ///< the teacher is a merge of factors; false: a sum of deltas
};

inline constexpr std::size_t toy_vocabulary = 48;
inline constexpr std::size_t toy_width = 24;
inline constexpr std::size_t toy_rank = 4;
inline constexpr double toy_lora_alpha = 8;
inline constexpr int toy_end = 0;  ///< the token that ends a text

/// Low-rank factors of one module, row-major.
struct ToyFactors {
  std::size_t rows = 0;     ///< outputs
  std::size_t columns = 0;  ///< inputs
  std::vector<float> a;     ///< rank x columns
  std::vector<float> b;     ///< rows x rank
};

struct ToyAdapter {
  std::string name;
  double planted_beta = 0;
  std::map<std::string, ToyFactors> modules;  ///< by module name, as in PEFT files
};

/// What a merge adds to the modules; c = lora_alpha / rank is contained.
struct ToyDelta {
  std::vector<double> mix;   ///< width x width
  std::vector<double> head;  ///< vocabulary x width
};

inline const std::string toy_mix = "model.layers.0.mix";
inline const std::string toy_head = "model.head";

class ToyModel {
 public:
  explicit ToyModel(const ToyOptions& options);

  [[nodiscard]] const std::vector<ToyAdapter>& adapters() const { return adapters_; }
  /// Share of A's entries that the teacher keeps.
  [[nodiscard]] static double planted_alpha() { return 0.25; }

  /// (sum beta B)(sum beta S_alpha(A)), or the sum of the deltas; weights by adapter.
  [[nodiscard]] ToyDelta merged(const std::vector<double>& alpha, const std::vector<double>& beta,
                                bool factor_space) const;
  /// Of any factors, of the shapes of the modules (a file that a server was given).
  [[nodiscard]] static ToyDelta delta_of(const std::map<std::string, ToyFactors>& modules,
                                         double scale);
  [[nodiscard]] static ToyDelta no_delta();
  [[nodiscard]] const ToyDelta& teacher() const { return teacher_; }

  [[nodiscard]] static TokenIds tokenize(std::string_view text);
  /// With its leading blank: " w07".
  [[nodiscard]] static std::string piece(int token);

  /// Log-probabilities of the next token.
  [[nodiscard]] std::vector<double> next(const TokenIds& context, const ToyDelta& delta) const;
  /// The most likely continuation: at most `most` tokens, up to the end token (not contained).
  [[nodiscard]] TokenIds greedy(TokenIds context, const ToyDelta& delta, std::size_t most) const;
  /// Mean negative log-probability per token of `answer` after `prompt`.
  [[nodiscard]] double loss(std::string_view prompt, std::string_view answer,
                            const ToyDelta& delta) const;

 private:
  std::vector<double> embedding_;  // vocabulary x width
  std::vector<double> head_;       // vocabulary x width
  std::vector<ToyAdapter> adapters_;
  ToyDelta teacher_;
};

struct ToyExample {
  std::string prompt;
  std::string answer;
  std::vector<std::string> choices;  ///< the answer among them
};

inline constexpr std::uint64_t toy_splits = 3;

/// Questions and the teacher's answers.  One stream of different questions is dealt out to the
/// splits, so they share none and scores on them differ by sampling only.
std::vector<ToyExample> toy_examples(const ToyModel& model, std::uint64_t split, std::size_t count);

/// Keeps the round(alpha n) largest magnitudes of a tensor, ties included.
std::vector<float> toy_sparsified(const std::vector<float>& tensor, double alpha);

/// Writes each adapter as a PEFT folder below `folder`, and search, select and report splits as
/// JSONL.
void write_toy_files(const ToyModel& model, const std::string& folder, std::size_t search,
                     std::size_t select, std::size_t report);

}  // namespace paretod::testing
