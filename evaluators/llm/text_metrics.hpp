#pragma once
// Graded comparisons of a text with a reference, of one example at a time, in [0, 1].  The numbers
// are those of sacrebleu's sentence scores (version 2, its defaults) for text whose white space is
// ASCII.  Pure functions.

#include <string_view>

namespace paretod::llm {

/// BLEU (Papineni et al. 2002) of up to four words in a row, words as the tokenizer of WMT's
/// mteval-v13a cuts them.  On single sentences: as many orders as the text has, and an order
/// without a match counts as half a match, the next as a quarter (Chen and Cherry 2014, method 3).
double bleu_of(std::string_view text, std::string_view reference);

/// chrF (Popovic 2015): of up to six characters in a row, white space left out, recall counting
/// twice as much as precision.
double chrf_of(std::string_view text, std::string_view reference);

}  // namespace paretod::llm
